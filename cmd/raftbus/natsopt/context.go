package natsopt

// Contexts: the named sets of settings that `nats context` keeps in files. Only read, never written.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// unsupported are the fields of a context that change how one connects and that raftbus does not understand: to ignore
// one would connect elsewhere, or as somebody else, than the context says.
var unsupported = map[string]string{
	"nsc":                "give the credentials file as creds instead",
	"socks_proxy":        "connect without a proxy, or through a NATS leaf node",
	"windows_cert_store": "give certificate files as cert and key instead",
}

// readContext returns the settings of the named context; of the selected one when the name is empty; none when none is
// selected. A name that is the path of a .json file is read as that file, as the nats CLI does.
func readContext(name string, lookup lookupFunc) (settings, error) {
	if strings.HasSuffix(name, ".json") {
		return readContextFile(name)
	}
	folder, err := configFolder(lookup)
	if err != nil {
		if name == "" {
			return nil, nil // without a home there is no selection either: a container without one is no error
		}
		return nil, err
	}
	if name == "" {
		if name, err = selectedContext(folder); name == "" || err != nil {
			return nil, err
		}
	}
	if strings.ContainsAny(name, `/\`) || strings.Contains(name, "..") {
		return nil, fmt.Errorf("NATS context %q: a name has no slash and no double dot: see `nats context ls`", name)
	}
	return readContextFile(filepath.Join(folder, "context", name+".json"))
}

// configFolder is where the nats CLI keeps its configuration.
func configFolder(lookup lookupFunc) (string, error) {
	if root, ok := lookup("XDG_CONFIG_HOME"); ok && root != "" {
		return filepath.Join(root, "nats"), nil
	}
	home, ok := lookup("HOME")
	if !ok || home == "" {
		return "", errors.New("NATS contexts: neither XDG_CONFIG_HOME nor HOME says where they are: set one, or name a .json file")
	}
	return filepath.Join(home, ".config", "nats"), nil
}

func selectedContext(folder string) (string, error) {
	name, err := os.ReadFile(filepath.Join(folder, "context.txt"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("selected NATS context: %w: make the file readable, or name a context with --context", err)
	}
	return strings.TrimSpace(string(name)), nil
}

func readContextFile(path string) (settings, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("NATS context %s does not exist: name a .json file that is there, or one of `nats context ls`", path)
	}
	if err != nil {
		return nil, fmt.Errorf("NATS context: %w: make the file readable", err)
	}
	var values map[string]any
	if err := json.Unmarshal(text, &values); err != nil {
		return nil, fmt.Errorf("NATS context %s is not a JSON object: repair it with `nats context edit`", path)
	}
	for name, remedy := range unsupported {
		if value, ok := values[name].(string); ok && value != "" {
			return nil, fmt.Errorf("NATS context %s sets %s, which raftbus does not support: %s", path, name, remedy)
		}
	}
	return contextSettings(values), nil
}

func contextSettings(values map[string]any) settings {
	out := settings{}
	for _, s := range known {
		switch value := values[s.json].(type) {
		case string:
			out[s.key] = value
		case bool:
			if value {
				out[s.key] = "true"
			}
		}
	}
	return out
}
