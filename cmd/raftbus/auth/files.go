package auth

// The files of the folder. Whoever makes it may be root, and nodes and users belong to somebody else (Owner), who can put there what root must
// not follow: so nothing is read, written or given away through a link that leads out of the nodes' or the users' folder.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
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

// write replaces a file as a whole, so that who reads it, or a crash, finds the one before or the new one.
func (o *Options) write(name string, content []byte, mode os.FileMode) error {
	folderMode, owner := os.FileMode(0o700), -1
	if mode != 0o600 {
		folderMode = 0o755
	}
	if folder, _, nested := strings.Cut(name, "/"); nested {
		if err := os.MkdirAll(filepath.Join(o.Dir, folder), folderMode); err != nil {
			return err
		}
		if slices.Contains(ownedFolders, folder) {
			owner = o.Owner
		}
	}
	root, file, err := o.within(name)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := makeFolder(root, path.Dir(file), folderMode, owner); err != nil {
		return err
	}
	if err := o.create(root, file+".new", content, mode, owner); err != nil {
		return err
	}
	return root.Rename(file+".new", file)
}

// makeFolder makes a folder, and gives it away, with those that it is in.
func makeFolder(root *os.Root, name string, mode os.FileMode, owner int) error {
	if err := root.MkdirAll(name, mode); err != nil {
		return err
	}
	for ; ; name = path.Dir(name) {
		if err := give(owner, named(root, name)); err != nil || name == "." {
			return err
		}
	}
}

// create makes a new file, durably, but not its name. It is its owner's from then on: a node that is started while this runs, or after it was
// broken off, must read its file.
func (o *Options) create(root *os.Root, name string, content []byte, mode os.FileMode, owner int) error {
	if err := root.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	return errors.Join(err, give(owner, file.Chown), o.durable(file), file.Close())
}

// give gives a file or a folder to its owner, by what does that; -1 is who runs this.
func give(owner int, chown func(uid, gid int) error) error {
	if owner < 0 {
		return nil
	}
	if err := chown(owner, owner); err != nil {
		return fmt.Errorf("give the files away: %w: run this as root, or with --owner -1", err)
	}
	return nil
}

// named gives away what has a name then. A file that was just made is surer to be given as it is open: in a folder of the owner's, another may have its name.
func named(root *os.Root, name string) func(uid, gid int) error {
	return func(uid, gid int) error { return root.Lchown(name, uid, gid) }
}

// own gives away what is in the nodes' and the users' folders and was not made now.
func (o *Options) own() error {
	return o.walk(ownedFolders, func(root *os.Root, file string, _ fs.DirEntry) error { return give(o.Owner, named(root, file)) })
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
