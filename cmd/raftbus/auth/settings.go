package auth

// What was said when the folder was made is kept in it, and is where a later call starts from: leaving something out takes nothing back. Who is
// to go is named.

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
)

const settingsName = "settings.json"

func (o *Options) given(name string) bool { return o.Given == nil || o.Given(name) }

// resume takes from the folder what is not said now, and adds the nodes and accounts that are said to those that there are.
func (o *Options) resume() error {
	for _, name := range o.Remove {
		if slices.Contains(slices.Concat(o.Nodes, o.Tenants, o.Guests), name) {
			return fmt.Errorf("%q is to be removed and to be there: leave one of the two out", name)
		}
	}
	before := map[string]json.RawMessage{}
	if err := o.readJSON(settingsName, &before); err != nil {
		return err
	}
	var nodes, tenants, guests []string
	for name, into := range map[string]*[]string{"nodes": &nodes, "tenants": &tenants, "guests": &guests} {
		if before[name] == nil {
			continue
		}
		if err := json.Unmarshal(before[name], into); err != nil {
			return fmt.Errorf("%s: %s: %w", filepath.Join(o.Dir, settingsName), name, err)
		}
		delete(before, name)
	}
	for name := range before {
		if o.given(name) {
			delete(before, name)
		}
	}
	content, err := json.Marshal(before)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(content, o); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(o.Dir, settingsName), err)
	}
	o.Nodes = union(nodes, o.nodesThere(), o.Nodes)
	o.settle(tenants, guests)
	if err := o.drop(); err != nil {
		return err
	}
	return o.fit(nodes)
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

func (o *Options) keepSettings() error {
	content, err := json.MarshalIndent(o, "", "  ")
	if err != nil {
		return err
	}
	return o.write(settingsName, append(content, '\n'), 0o600)
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

// drop takes out who is removed.
func (o *Options) drop() error {
	all := o.plan()
	for _, name := range o.Remove {
		if there := slices.Concat(o.Nodes, o.Tenants, o.Guests); !slices.Contains(there, name) {
			return fmt.Errorf("no node, tenant or guest %q is there to be removed: there are %v", name, there)
		}
	}
	removed := func(name string) bool { return slices.Contains(o.Remove, name) }
	o.goneAccounts = slices.DeleteFunc(slices.Concat(o.Tenants, o.Guests), func(name string) bool { return !removed(name) })
	o.Nodes, o.Tenants, o.Guests = slices.DeleteFunc(o.Nodes, removed), slices.DeleteFunc(o.Tenants, removed), slices.DeleteFunc(o.Guests, removed)
	stay := o.plan()
	o.gone = slices.DeleteFunc(all, func(u user) bool {
		return slices.ContainsFunc(stay, func(s user) bool { return s.file == u.file })
	})
	return nil
}

// fit refuses what would lock nodes out: other credentials than they have.
func (o *Options) fit(earlier []string) error {
	var errs []error
	for _, id := range o.Nodes {
		folder := filepath.Join(o.Dir, "nodes", id)
		if slices.Contains(earlier, id) && !exists(folder) {
			errs = append(errs, fmt.Errorf("%s is gone, and node %s would be locked out by new keys: put back a copy of what the node has, or give --remove %[2]s", folder, id))
		}
		if exists(filepath.Join(folder, peersName+".nk")) && o.JWT {
			errs = append(errs, fmt.Errorf("%s holds nkeys, not JWTs: leave --jwt out, or make another folder", folder))
		}
		if exists(filepath.Join(folder, peersName+".creds")) && !o.JWT {
			errs = append(errs, fmt.Errorf("%s holds JWTs: give --jwt, or make another folder", folder))
		}
	}
	return errors.Join(errs...)
}

// clear deletes the files of whom is removed. A folder that holds something else, or is a mounted one, stays, without them.
func (o *Options) clear() error {
	var errs []error
	remove := func(name string) {
		if err := o.remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	for _, u := range o.gone {
		for _, extension := range []string{".nk", ".creds", ".json"} {
			remove(u.file + extension)
		}
		if path.Base(path.Dir(path.Dir(u.file))) == tenantsName {
			_ = o.remove(path.Dir(u.file))
			_ = o.remove(path.Dir(path.Dir(u.file)))
		}
	}
	for _, name := range o.goneAccounts { // a node may be called as an issuer is: its seed stays
		remove("issuer/" + name + ".nk")
	}
	for _, name := range o.Remove {
		remove("nodes/" + name + "/" + keyName)
		_ = o.remove("nodes/" + name)
	}
	return errors.Join(errs...)
}
