package auth

// What settings.json has beside what was said: what the folder must not forget when its other files are gone.

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"
)

// record is what is remembered. A folder of an earlier release has none.
type record struct {
	Keys    map[string]string             `json:"keys,omitempty"`    // public ones, by the file of the credential, of all users that there are
	Revoked map[string]jwt.RevocationList `json:"revoked,omitempty"` // by account; with JWTs, which are good until then
	Leaving []string                      `json:"leaving,omitempty"` // files of whom was removed, until they are gone too
}

func (o *Options) keepSettings() error {
	content, err := json.MarshalIndent(struct {
		*Options
		*record
	}{o, &o.kept}, "", "  ")
	if err != nil {
		return err
	}
	return o.write(settingsName, append(content, '\n'), 0o600)
}

// revoke finds the keys of whom is removed. One that is not known cannot be revoked: somebody could go on with it. was is who there was.
func (o *Options) revoke(was []user) error {
	o.goneKeys = map[string][]string{}
	var unknown []string
	for _, u := range o.gone {
		if !o.JWT || slices.Contains(o.goneAccounts, u.account) || !exists(filepath.Join(o.Dir, "issuer", u.account+".nk")) {
			continue // whatever was signed for it ends
		}
		keys, err := o.keysOf(u)
		if err != nil {
			return err
		}
		o.goneKeys[u.account] = append(o.goneKeys[u.account], keys...)
		if len(keys) == 0 && slices.ContainsFunc(was, func(w user) bool { return w.file == u.file }) {
			unknown = append(unknown, u.file+".creds")
		}
	}
	if len(unknown) > 0 {
		return fmt.Errorf("%s: nothing says which keys they had, so they cannot be revoked, and would go on to be taken: put back a copy, as the node has it, and give the command again; "+
			"or remove the accounts' seeds in issuer, and give everybody new credentials", strings.Join(unknown, ", "))
	}
	return nil
}

// keysOf are the keys that a user is known to have, or to have had.
func (o *Options) keysOf(u user) (keys []string, err error) {
	if key := o.kept.Keys[u.file]; key != "" {
		keys = []string{key}
	}
	pair, err := o.stored(u.file)
	switch {
	case pair != nil && !slices.Contains(keys, public(pair)):
		keys = append(keys, public(pair))
	case len(keys) == 0 && err != nil:
		return nil, err
	}
	return keys, nil
}

// LeafsLeft are the folders of removed credentials whose leaf connections go on when NATS reads its configuration anew: it looks at none of them for that,
// and ends those alone whose keys are revoked in an account that stays. Those are among them that a call removed which was broken off.
func (o *Options) LeafsLeft() (folders []string) {
	for _, u := range o.gone {
		if u.name() == leafName && strings.HasPrefix(u.file, "nodes/") && (!o.JWT || slices.Contains(o.goneAccounts, u.account)) {
			folders = append(folders, path.Dir(u.file))
		}
	}
	for _, file := range o.late {
		if strings.HasPrefix(file, "nodes/") && path.Base(file) == leafName+".json" && (!o.JWT || strings.Contains(file, "/tenants/")) {
			folders = append(folders, path.Dir(file))
		}
	}
	return folders
}

// leaving are the files of whom is removed.
func (o *Options) leaving() (files []string) {
	for _, u := range o.gone {
		for _, extension := range []string{".nk", ".creds", ".json"} {
			files = append(files, u.file+extension)
		}
	}
	for _, name := range o.goneAccounts { // a node may be called as an issuer is: its seed stays
		files = append(files, "issuer/"+name+".nk")
	}
	for _, name := range o.Remove {
		files = append(files, "nodes/"+name+"/"+keyName)
	}
	return files
}

// leave deletes the files of whom is removed, and forgets them once that is durable.
func (o *Options) leave() error {
	if len(o.kept.Leaving) == 0 {
		return nil
	}
	if err := errors.Join(o.clear(), o.sync()); err != nil {
		return err
	}
	return o.keepSettings()
}

// finish brings the removal to its end that a call before was broken off in, and forgets it before anything is made: who is named now may have the same files.
// settings are those of the folder as they are there.
func (o *Options) finish(settings map[string]json.RawMessage) error {
	if o.late = o.kept.Leaving; len(o.late) == 0 {
		return nil
	}
	if err := errors.Join(o.clear(), o.sync()); err != nil {
		return err
	}
	delete(settings, "leaving")
	content, err := json.Marshal(settings)
	if err != nil {
		return err
	}
	return errors.Join(o.write(settingsName, content, 0o600), o.sync())
}

// clear deletes the files of whom is removed, now or by a call that was broken off. A folder that holds something else, or is a mounted one,
// stays, without them.
func (o *Options) clear() error {
	var errs []error
	for _, file := range o.kept.Leaving {
		if err := o.remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
		for folder := path.Dir(file); strings.Contains(folder, "/"); folder = path.Dir(folder) {
			_ = o.remove(folder)
		}
	}
	if len(errs) == 0 {
		o.kept.Leaving = nil
	}
	return errors.Join(errs...)
}

// remembered makes ready what is remembered of revocations. Of an account that is removed nothing is: one of that name would have another key.
func (o *Options) remembered() {
	if o.kept.Revoked == nil {
		o.kept.Revoked = map[string]jwt.RevocationList{}
	}
	for _, name := range o.goneAccounts {
		delete(o.kept.Revoked, name)
	}
}
