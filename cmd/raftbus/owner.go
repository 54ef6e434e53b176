package main

// Whose a data folder is: what root makes in that of another user, its node cannot use.

import (
	"errors"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// mustBeOwn refuses root the folder of another user, or a new one in a folder of another. Any other user makes nothing there, or is let in by the owner.
func mustBeOwn(dir string, me int) error {
	if me != 0 {
		return nil
	}
	owner, err := ownerOf(filepath.Join(dir, "identity")) // a volume's folder may be root's, and what is in it the node's
	for errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
		owner, err = ownerOf(dir)
		dir = filepath.Dir(dir)
	}
	if err != nil || owner == me {
		return err
	}
	return failf(exitRefused, "the folder, or that in which it is to be made, is of user %s, and what root makes there its node cannot use; nothing was done: give the command as that user: sudo -u %s raftbus ...", userName(owner), userName(owner))
}

func ownerOf(path string) (int, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return int(info.Sys().(*syscall.Stat_t).Uid), nil
}

// userName is a user as sudo takes it, in a shell.
func userName(id int) string {
	if u, err := user.LookupId(strconv.Itoa(id)); err == nil {
		return u.Username
	}
	return "'#" + strconv.Itoa(id) + "'"
}
