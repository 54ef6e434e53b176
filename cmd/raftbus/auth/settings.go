package auth

// What was said when the folder was made is kept in it, and is where a later call starts from: leaving something out takes nothing back. Who is
// to go is named.

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const settingsName = "settings.json"

func (o *Options) given(name string) bool { return o.Given == nil || o.Given(name) }

// resume takes from the folder what is not said now, and adds the nodes and accounts that are said to those that there are.
func (o *Options) resume() error {
	for _, name := range o.Remove {
		if slices.Contains(slices.Concat(o.Nodes, o.Tenants, o.Guests), name) {
			return OptionsError{fmt.Errorf("%q is to be removed and to be there: leave one of the two out", name)}
		}
	}
	var there struct{ Nodes, Tenants, Guests []string }
	before := map[string]json.RawMessage{}
	for _, into := range []any{&there, &before, &o.kept} {
		if err := o.readJSON(settingsName, into); err != nil {
			return err
		}
	}
	if err := o.finish(before); err != nil {
		return err
	}
	maps.DeleteFunc(before, func(name string, _ json.RawMessage) bool {
		return slices.Contains([]string{"nodes", "tenants", "guests"}, name) || o.given(name)
	})
	content, err := json.Marshal(before)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(content, o); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(o.Dir, settingsName), err)
	}
	was := *o
	was.Nodes, was.Tenants, was.Guests = union(there.Nodes, o.nodesThere()), there.Tenants, there.Guests
	o.Nodes = union(was.Nodes, o.Nodes)
	o.settle(there.Tenants, there.Guests)
	if err := o.drop(was.plan()); err != nil {
		return err
	}
	return o.fit(there.Nodes)
}

// readJSON reads a file of the folder, if it is there.
func (o *Options) readJSON(name string, into any) error {
	file := filepath.Join(o.Dir, filepath.FromSlash(name))
	content, err := o.read(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(content, into)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: put it right, or remove it to have another made, and say all flags again", file, err)
	}
	return nil
}

// nodesThere are those that have credentials in the folder, in the order of their names.
func (o *Options) nodesThere() (list []string) {
	files, _ := filepath.Glob(filepath.Join(o.Dir, "nodes", "*", peersName+".*")) // the pattern is right
	for _, file := range files {
		list = append(list, filepath.Base(filepath.Dir(file)))
	}
	return list
}

// union is all names, each once, where it is first.
func union(lists ...[]string) (all []string) {
	for _, name := range slices.Concat(lists...) {
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

// drop takes out who is removed. was is who there was.
func (o *Options) drop(was []user) error {
	all := o.plan()
	for _, name := range o.Remove {
		if there := slices.Concat(o.Nodes, o.Tenants, o.Guests); !slices.Contains(there, name) {
			return OptionsError{fmt.Errorf("no node, tenant or guest %q is there to be removed: there are %v", name, there)}
		}
	}
	removed := func(name string) bool { return slices.Contains(o.Remove, name) }
	o.goneAccounts = slices.DeleteFunc(slices.Concat(o.Tenants, o.Guests), func(name string) bool { return !removed(name) })
	o.Nodes, o.Tenants, o.Guests = slices.DeleteFunc(o.Nodes, removed), slices.DeleteFunc(o.Tenants, removed), slices.DeleteFunc(o.Guests, removed)
	stay := o.plan()
	o.gone = slices.DeleteFunc(all, func(u user) bool {
		return slices.ContainsFunc(stay, func(s user) bool { return s.file == u.file })
	})
	return o.revoke(was)
}

// fit refuses what would lock nodes out: other credentials than they have, or another cluster key. earlier are the nodes that there were.
func (o *Options) fit(earlier []string) error {
	var errs []error
	for _, id := range o.Nodes {
		folder := filepath.Join(o.Dir, "nodes", id)
		if missing := o.missing(id); slices.Contains(earlier, id) && len(missing) > 0 {
			errs = append(errs, fmt.Errorf("%s is gone, and node %s would be locked out by new keys: put back a copy of what the node has; "+
				"or give --remove %[2]s, and then --nodes %[2]s to have others made", strings.Join(missing, ", "), id))
		}
		if exists(filepath.Join(folder, peersName+".nk")) && o.JWT {
			errs = append(errs, fmt.Errorf("%s holds nkeys, not JWTs: leave --jwt out, or make another folder", folder))
		}
		if exists(filepath.Join(folder, peersName+".creds")) && !o.JWT {
			errs = append(errs, fmt.Errorf("%s holds JWTs: give --jwt, or make another folder", folder))
		}
	}
	if !slices.ContainsFunc(o.Nodes, o.hasClusterKey) && slices.ContainsFunc(o.Nodes, func(id string) bool { return slices.Contains(earlier, id) }) {
		errs = append(errs, fmt.Errorf("no node has a %s any more, and another key would be none that the nodes know: put back a copy of theirs as %s; or another one, if all nodes are to be stopped and given that",
			keyName, filepath.Join(o.Dir, "nodes", o.Nodes[0], keyName)))
	}
	if len(errs) > 0 {
		return OptionsError{errors.Join(errs...)}
	}
	return nil
}

func (o *Options) hasClusterKey(id string) bool {
	return exists(filepath.Join(o.Dir, "nodes", id, keyName))
}

// missing are the credentials that a node has had and that the folder has no more; or the node's folder, if that is gone as a whole.
func (o *Options) missing(id string) (files []string) {
	folder := filepath.Join(o.Dir, "nodes", id)
	if !exists(folder) {
		return []string{folder}
	}
	for _, u := range o.plan() {
		file, ofNode := strings.CutPrefix(u.file, "nodes/"+id+"/")
		if !ofNode || strings.Contains(file, "/") && o.kept.Keys[u.file] == "" { // an account's, which may be new
			continue
		}
		if at := filepath.Join(folder, file); !exists(at+".nk") && !exists(at+".creds") {
			files = append(files, at+"."+o.extension())
		}
	}
	return files
}

// extension is how the names of credentials end.
func (o *Options) extension() string {
	if o.JWT {
		return "creds"
	}
	return "nk"
}
