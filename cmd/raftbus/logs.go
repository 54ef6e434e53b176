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

// newLogger writes text when stderr is a terminal, and JSON otherwise. Close the queue at the end.
func newLogger(stderr io.Writer, level slog.Leveler) (*slog.Logger, *logQueue) {
	options, queue := &slog.HandlerOptions{Level: level}, newLogQueue(stderr)
	if isTerminal(stderr) {
		return slog.New(slog.NewTextHandler(queue, options)), queue
	}
	return slog.New(slog.NewJSONHandler(queue, options)), queue
}
