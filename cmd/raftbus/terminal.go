package main

// Who is at the terminal, if there is one.

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// isTerminal reports whether a stream is one; /dev/null is none.
func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// confirmed asks on a terminal, and takes 'yes' only. Where there is none nobody can say it, and what is read there may be meant for others.
func confirmed(cmd *cobra.Command, question string) bool {
	if !isTerminal(cmd.InOrStdin()) {
		return false
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s Type 'yes': ", question)
	answer, _ := bufio.NewReader(reader{cmd.Context(), cmd.InOrStdin()}).ReadString('\n') // its end is no answer, nor is Ctrl-C
	return strings.TrimSpace(answer) == "yes"
}
