package embedded

// What the server says, on its way to slog. The server's own log would go to standard error.

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
)

// serverLog is a nats-server logger. It remembers what was fatal, because the server goes on after having said it.
type serverLog struct {
	log   *slog.Logger
	mu    sync.Mutex
	fatal error
}

func newServerLog(l *slog.Logger) *serverLog {
	if l == nil {
		l = slog.New(slog.DiscardHandler)
	}
	return &serverLog{log: l.With("part", "nats-server")}
}

// errUnknown stands for a cause that the server did not tell.
var errUnknown = errors.New("it did not say why")

// failure is the first fatal error.
func (l *serverLog) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fatal == nil {
		return errUnknown
	}
	return l.fatal
}

func (l *serverLog) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.mu.Lock()
	if l.fatal == nil {
		l.fatal = errors.New(text)
	}
	l.mu.Unlock()
	l.log.Error(text)
}

func (l *serverLog) Noticef(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l *serverLog) Warnf(format string, v ...any)   { l.log.Warn(fmt.Sprintf(format, v...)) }
func (l *serverLog) Errorf(format string, v ...any)  { l.log.Error(fmt.Sprintf(format, v...)) }
func (l *serverLog) Debugf(string, ...any)           {}
func (l *serverLog) Tracef(string, ...any)           {}
