package auth

// The files of the folder. Whoever makes it may be root, and nodes and users belong to somebody else (Owner), who can put there what root must
// not follow: so nothing is read, written or given away through a link that leads out of the nodes' or the users' folder.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ownedFolders are those that belong to the owner.
var ownedFolders = []string{"nodes", "users"}

// within opens the folder that a name begins with, and returns the rest of the name.
func (o *Options) within(name string) (*os.Root, string, error) {
	folder, rest, nested := strings.Cut(name, "/")
	if !nested {
		folder, rest = ".", name
	}
	root, err := os.OpenRoot(filepath.Join(o.Dir, folder))
	return root, rest, err
}

// read reads a file.
func (o *Options) read(name string) ([]byte, error) {
	root, rest, err := o.within(name)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.ReadFile(rest)
}

// remove removes a file, or an empty folder.
func (o *Options) remove(name string) error {
	root, rest, err := o.within(name)
	if err != nil {
		return err
	}
	defer root.Close()
	return root.Remove(rest)
}

// look refuses what is neither a file nor a folder: it was not made here.
func (o *Options) look() error {
	return o.walk(ownedFolders, func(_ *os.Root, file string, e fs.DirEntry) error {
		if !e.IsDir() && !e.Type().IsRegular() {
			return fmt.Errorf("%s is neither a file nor a folder: find out who put it there, and remove it", file)
		}
		return nil
	})
}

// walk visits what is in folders, as far as they are there, and the folders; file is its name under the root.
func (o *Options) walk(folders []string, visit func(root *os.Root, file string, e fs.DirEntry) error) error {
	for _, folder := range folders {
		root, err := os.OpenRoot(filepath.Join(o.Dir, folder))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		err = fs.WalkDir(root.FS(), ".", func(file string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if err := visit(root, file, e); err != nil {
				return fmt.Errorf("%s: %w", filepath.Join(o.Dir, folder), err)
			}
			return nil
		})
		if err := errors.Join(err, root.Close()); err != nil {
			return err
		}
	}
	return nil
}

// create makes a new file, durably, but not its name.
func (o *Options) create(root *os.Root, name string, content []byte, mode os.FileMode) error {
	if err := root.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	return errors.Join(err, o.durable(file), file.Close())
}

// sync makes the names of all files durable.
func (o *Options) sync() error {
	root, err := os.OpenRoot(o.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return errors.Join(o.syncDir(root, "."), o.walk([]string{"nodes", "users", "issuer", "nats"}, func(root *os.Root, file string, e fs.DirEntry) error {
		if !e.IsDir() {
			return nil
		}
		return o.syncDir(root, file)
	}))
}

func (o *Options) syncDir(root *os.Root, name string) error {
	dir, err := root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(o.durable(dir), dir.Close())
}

// durable makes durable what a file holds, or the names in a folder.
func (o *Options) durable(file *os.File) error {
	if o.syncs != nil {
		return o.syncs(file)
	}
	return file.Sync()
}
