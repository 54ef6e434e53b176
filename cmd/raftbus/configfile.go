package main

// The configuration file: YAML (so JSON too), one level deep, the node's flags as keys. Everything that is wrong with it is told at
// once, each with its line.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	yaml "go.yaml.in/yaml/v3"

	"github.com/raftbus/raftbus/cmd/raftbus/natsopt"
)

// configBytesMax bounds a configuration file: a larger one is another file.
const configBytesMax = 1 << 20

// yamlLine is how the library begins an error.
var yamlLine = regexp.MustCompile(`^yaml: (?:line ([0-9]+): )?`)

// configFile is what a file says.
type configFile struct {
	path     string
	settings []fileSetting
}

type fileSetting struct {
	key, value string // of a list, the values with commas between
	line       int
}

// at is an error at a line, as compilers write it.
func (c *configFile) at(line int, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %w", c.path, line, fmt.Errorf(format, args...))
}

// readConfig reads a file, and checks its form and its keys.
func readConfig(path string) (*configFile, []error) {
	c := &configFile{path: path}
	info, err := os.Stat(path)
	if err == nil && info.Size() > configBytesMax {
		err = fmt.Errorf("%s has %d bytes, which is no configuration", path, info.Size())
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return c, []error{fmt.Errorf("configuration file: %w: name a file that can be read", err)}
	}
	var document, another yaml.Node
	documents := yaml.NewDecoder(bytes.NewReader(text))
	err = documents.Decode(&document)
	if err == nil {
		err = documents.Decode(&another)
	}
	switch {
	case err == nil:
		return c, []error{c.at(another.Line, "a second document begins here, and only one is read: write all settings into one, without '---' between")}
	case !errors.Is(err, io.EOF):
		return c, []error{fmt.Errorf("%s:%s", path, yamlLine.ReplaceAllString(err.Error(), "$1: no YAML: "))}
	case len(document.Content) == 0:
		return c, nil // empty
	}
	return c, c.read(document.Content[0])
}

func (c *configFile) read(root *yaml.Node) (errs []error) {
	if root.Kind != yaml.MappingNode {
		return []error{c.at(root.Line, "write settings as 'key: value', one on a line")}
	}
	keys := settingKeys()
	lines := map[string]int{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		before := lines[key.Value]
		lines[key.Value] = key.Line
		text, err := valueText(value)
		switch {
		case !slices.Contains(keys, key.Value):
			errs = append(errs, c.at(key.Line, "unknown key %q: %s", key.Value, nearest(key.Value, keys)))
		case before > 0:
			errs = append(errs, c.at(key.Line, "%s is set in line %d already", key.Value, before))
		case err != nil:
			errs = append(errs, c.at(value.Line, "%s: %w", key.Value, err))
		default:
			c.settings = append(c.settings, fileSetting{key.Value, text, key.Line})
		}
	}
	return errs
}

// valueText is a value as its flag takes it.
func valueText(n *yaml.Node) (string, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag != "!!null":
		return n.Value, nil
	case n.Kind != yaml.SequenceNode:
		return "", errors.New("give a value, or a list of values")
	}
	var list []string
	for _, one := range n.Content {
		if one.Kind != yaml.ScalarNode || strings.Contains(one.Value, ",") {
			return "", errors.New("a list has plain values, without commas")
		}
		list = append(list, one.Value)
	}
	return strings.Join(list, ","), nil
}

// fill sets the flags that the file names and that nobody has set. What a command has no flag for is another command's.
func (c *configFile) fill(flags *pflag.FlagSet) (errs []error) {
	for _, s := range c.settings {
		flag := flags.Lookup(s.key)
		where := fmt.Sprintf("%s:%d", c.path, s.line)
		switch {
		case flag == nil, isOwn(flag):
			continue
		case isOfNATS(flag):
			natsopt.FromFile(flag, s.value, where)
		case !flag.Changed:
			if err := flags.Set(s.key, s.value); err != nil {
				errs = append(errs, c.at(s.line, "%w", flagError(err)))
			}
			_ = flags.SetAnnotation(s.key, sourceAnnotation, []string{where}) // it exists
		}
	}
	return errs
}

// ownAnnotation is a flag's that is called as one of a node's, and is something else. It says by which name it is set by a variable.
const ownAnnotation = "own"

func own(flags *pflag.FlagSet, flag, name string) {
	_ = flags.SetAnnotation(flag, ownAnnotation, []string{name}) // it exists
}

func isOwn(flag *pflag.Flag) bool {
	_, is := flag.Annotations[ownAnnotation]
	return is
}

func isOfNATS(flag *pflag.Flag) bool {
	_, is := flag.Annotations[natsopt.Annotation]
	return is
}

// settingKeys are the keys that a file may have: the flags of a node, in order.
func settingKeys() (keys []string) {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	(&nodeFlags{}).register(flags)
	natsopt.Register(flags)
	flags.VisitAll(func(flag *pflag.Flag) {
		if !flag.Hidden {
			keys = append(keys, flag.Name)
		}
	})
	return keys
}

// nearest is the advice about a key that there is not.
func nearest(key string, keys []string) string {
	best, distance := "", 1+len(key)/3 // more letters wrong, and it is another word
	for _, known := range keys {
		if d := editDistance(strings.ReplaceAll(strings.ToLower(key), "_", "-"), known); d <= distance && (best == "" || d < distance) {
			best, distance = known, d
		}
	}
	if best == "" {
		return "the keys are the flags of 'raftbus node --help', without --"
	}
	return fmt.Sprintf("did you mean %s?", best)
}

// editDistance is how many letters are to be added, left out or changed to make one word of another (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			above := row[j+1]
			if a[i] == b[j] {
				row[j+1] = diagonal
			} else {
				row[j+1] = 1 + min(diagonal, above, row[j])
			}
			diagonal = above
		}
	}
	return row[len(b)]
}
