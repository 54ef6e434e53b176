package main

// Logs of the running commands: to stderr, text for people, JSON for machines. Never a value or a credential.

import (
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/pflag"
)

// logLevel is a flag that takes debug, info, warn or error.
type logLevel slog.Level

func (l *logLevel) Type() string      { return "LEVEL" }
func (l *logLevel) Level() slog.Level { return slog.Level(*l) }
func (l *logLevel) String() string    { return strings.ToLower(l.Level().String()) }

func (l *logLevel) Set(text string) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(text)); err != nil {
		return usagef("%q is no log level: use debug, info, warn or error", text)
	}
	*l = logLevel(level)
	return nil
}

func logLevelFlag(flags *pflag.FlagSet, level slog.Level) *logLevel {
	l := logLevel(level)
	flags.Var(&l, "log-level", "least `LEVEL` that is logged: debug, info, warn or error")
	return &l
}

// logForm makes what writes lines of the log in one form.
type logForm func(io.Writer, *slog.HandlerOptions) slog.Handler

func textForm(w io.Writer, o *slog.HandlerOptions) slog.Handler { return slog.NewTextHandler(w, o) }
func jsonForm(w io.Writer, o *slog.HandlerOptions) slog.Handler { return slog.NewJSONHandler(w, o) }

// newLogger writes text when stderr is a terminal, and JSON otherwise. Close the queue at the end.
func newLogger(stderr io.Writer, level slog.Leveler) (*slog.Logger, *logQueue) {
	form := logForm(jsonForm)
	if isTerminal(stderr) {
		form = textForm
	}
	queue := newLogQueue(stderr, form)
	return slog.New(form(queue, &slog.HandlerOptions{Level: level})), queue
}
