package natsopt

// The flags, and the way from them, the environment and the context to a Target.

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/pflag"
)

// DefaultTimeout is how long a command waits for NATS when nothing else is said, as with the nats CLI.
const DefaultTimeout = 5 * time.Second

// Annotation marks the flags of this package, which reads their variables itself.
const Annotation = "natsopt"

// lookupFunc reads the environment, as os.LookupEnv does.
type lookupFunc = func(name string) (string, bool)

// Flags holds the NATS flags of one command. It is not safe for concurrent use.
type Flags struct {
	set *pflag.FlagSet
}

// Target is where to connect, and how.
type Target struct {
	URLs    []string
	Options []nats.Option
	// Timeout is how long to wait for NATS and for answers. When it was given, it is among the Options too, as the time
	// that one attempt to connect may take.
	Timeout time.Duration
	// servers are the settings that go for whoever connects there: where the servers are, and how they prove it.
	servers settings
}

// Register adds the flags to a command's own.
func Register(set *pflag.FlagSet) *Flags {
	for _, s := range known {
		switch {
		case s.isSwitch:
			set.Bool(s.key, false, s.usage)
		case s.key == keyURL:
			set.StringP(s.key, "s", "", usage(s))
		default:
			set.String(s.key, "", usage(s))
		}
	}
	set.String("server", "", "")
	_ = set.MarkHidden("server") // the nats CLI's name of --nats; it exists, so hiding it cannot fail
	set.String("context", "", "nats CLI context `NAME`, or a .json file (NATS_CONTEXT; default: the selected one)")
	set.Bool("no-context", false, "use no context, not even the selected one")
	set.String("timeout", "", "`DURATION` to wait for NATS and for answers (NATS_TIMEOUT; default 5s)")
	for _, name := range append([]string{"server", "context", "no-context", "timeout"}, keys()...) {
		_ = set.SetAnnotation(name, Annotation, nil) // it exists
	}
	return &Flags{set: set}
}

// Of are the flags of a command that has them registered already.
func Of(set *pflag.FlagSet) *Flags { return &Flags{set: set} }

func usage(s setting) string {
	if s.env == "" {
		return s.usage
	}
	return fmt.Sprintf("%s (%s)", s.usage, s.env)
}

// Resolve reads all sources. An error names what is wrong and where, and repeats no secret.
func (f *Flags) Resolve(lookup lookupFunc) (Target, error) {
	context, err := f.context(lookup)
	if err != nil {
		return Target{}, err
	}
	merged := f.merged(lookup, context)
	urls, err := merged.urls()
	if err != nil {
		return Target{}, err
	}
	options, err := merged.options(references{lookup})
	if err != nil {
		return Target{}, err
	}
	timeout, err := f.timeout(lookup)
	if err != nil {
		return Target{}, err
	}
	servers := settings{keyURL: strings.Join(urls, ","), keyTLSCA: merged[keyTLSCA], keyTLSFirst: merged[keyTLSFirst]}
	if timeout == 0 {
		return Target{urls, options, DefaultTimeout, servers}, nil
	}
	return Target{urls, append(options, nats.Timeout(timeout)), timeout, servers}, nil
}

func (f *Flags) merged(lookup lookupFunc, context settings) settings {
	return merge([]settings{f.fromFlags(), fromEnv(lookup, ownVariable), fromEnv(lookup, natsVariable), f.fromFile()}, context)
}

func (f *Flags) fromFlags() settings {
	out := settings{}
	for _, s := range known {
		out[s.key] = f.value(s.key)
	}
	if out[keyURL] == "" {
		out[keyURL] = f.value("server")
	}
	return out
}

// value returns what a flag was set to; nothing when it was not.
func (f *Flags) value(name string) string {
	if flag := f.set.Lookup(name); flag.Changed {
		return flag.Value.String()
	}
	return ""
}

func ownVariable(s setting) string  { return Variable(s.key) }
func natsVariable(s setting) string { return s.env }

// Variable is the environment variable of a raftbus flag.
func Variable(flag string) string {
	return "RAFTBUS_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

func fromEnv(lookup lookupFunc, name func(setting) string) settings {
	out := settings{}
	for _, s := range known {
		if variable := name(s); variable != "" {
			out[s.key], _ = lookup(variable)
		}
	}
	return out
}

// either returns a setting that has no place in a context: the flag's, that of the first variable that is set, or the file's.
func (f *Flags) either(flag string, lookup lookupFunc, variables ...string) (value, source string) {
	if value = f.value(flag); value != "" {
		return value, "--" + flag
	}
	for _, name := range append([]string{Variable(flag)}, variables...) {
		if value, _ = lookup(name); value != "" {
			return value, name
		}
	}
	return f.fileValue(flag)
}

// named is a source with the name of the setting: a line of a file does not say it.
func (f *Flags) named(source, flag string) string {
	if _, where := f.fileValue(flag); where == source {
		return source + ": " + flag
	}
	return source
}

func (f *Flags) context(lookup lookupFunc) (settings, error) {
	value, source := f.either("no-context", lookup)
	if value != "" {
		none, err := strconv.ParseBool(value)
		if err != nil {
			return nil, fmt.Errorf("%s is %q: give true or false", f.named(source, "no-context"), value)
		}
		if none {
			return nil, nil
		}
	}
	name, _ := f.either("context", lookup, "NATS_CONTEXT")
	return readContext(name, lookup)
}

// timeout returns what was given; zero when nothing was.
func (f *Flags) timeout(lookup lookupFunc) (time.Duration, error) {
	value, source := f.either("timeout", lookup, "NATS_TIMEOUT")
	if value == "" {
		return 0, nil
	}
	timeout, err := time.ParseDuration(value)
	if err != nil || timeout <= 0 {
		return 0, fmt.Errorf("%s is %q: give a duration above zero, such as 5s", f.named(source, "timeout"), value)
	}
	return timeout, nil
}
