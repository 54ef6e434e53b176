package main

// How what is wrong with a command line is worded, wherever it is found: on the line, in a variable or in a file.

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// listed is words as a sentence has them: a, b or c.
func listed(words []string, last string) string {
	n := len(words) - 1
	if n < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:n], ", ") + " " + last + " " + words[n]
}

// counted is a number of things.
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// expected is what a flag takes, by its type, where the error of who reads it names a function of Go.
var expected = map[string]string{
	"int": "a whole number", "int64": "a whole number", "uint64": "a whole number, 0 or more", "float64": "a number", "bool": "true or false",
	"duration": "a duration such as 90s, 30m or 24h; it has no days",
}

// flagError says what a flag takes.
func flagError(err error) error {
	var wrong *pflag.InvalidValueError
	if !errors.As(err, &wrong) || expected[wrong.GetFlag().Value.Type()] == "" {
		return err
	}
	return fmt.Errorf("--%s %q: give %s", wrong.GetFlag().Name, wrong.GetValue(), expected[wrong.GetFlag().Value.Type()])
}
