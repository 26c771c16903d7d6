package program

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Place is where a program is. Two paths mean the same program when their places
// are equal.
type Place struct {
	// Name is the path with the links of its directory resolved, but not its own:
	// one file may be several programs, by the name that it is called by.
	Name string
	// File is the path with all links resolved.
	File string
}

// Located is a program that was found, and looked at.
type Located struct {
	Place
	Identity Identity
}

// maxLinks bounds the links of a path, as the kernel does.
const maxLinks = 40

// Locate resolves an absolute path and tells who could change what it leads to:
// the error names the first directory, link or file that is not of one of the
// owners, or that others may write. Root is always one of the owners.
func Locate(path string, owners ...int) (Located, error) {
	if !filepath.IsAbs(path) {
		return Located{}, fmt.Errorf("%q is not an absolute path", path)
	}
	owners = append([]int{0}, owners...)
	dir, err := resolve(filepath.Dir(path), owners)
	if err != nil {
		return Located{}, err
	}
	l := Located{Place: Place{Name: filepath.Join(dir, filepath.Base(path))}}
	if l.File, err = resolve(path, owners); err != nil {
		return Located{}, err
	}
	l.Identity, err = Identify(l.File)
	return l, err
}

// At resolves a path to its place, whoever could change it.
func At(path string) (Place, error) {
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return Place{}, err
	}
	file, err := filepath.EvalSymlinks(path)
	return Place{Name: filepath.Join(dir, filepath.Base(path)), File: file}, err
}

// resolve follows the links of an absolute path, and looks at everything on the
// way.
func resolve(path string, owners []int) (string, error) {
	at, sticky := "/", false
	links := 0
	rest := split(path)
	if err := look("/", &sticky, owners); err != nil {
		return "", err
	}
	for len(rest) > 0 {
		next := rest[0]
		rest = rest[1:]
		if next == ".." {
			at = filepath.Dir(at)
			continue
		}
		at = filepath.Join(at, next)
		if err := look(at, &sticky, owners); err != nil {
			return "", err
		}
		to, err := os.Readlink(at)
		if errors.Is(err, syscall.EINVAL) {
			continue // no link
		}
		if err != nil {
			return "", err
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("%s leads through more than %d links", path, maxLinks)
		}
		rest = append(split(to), rest...)
		if at = filepath.Dir(at); filepath.IsAbs(to) {
			at = "/"
		}
	}
	return at, nil
}

// split returns the steps of a path. A step ".." goes up from where the links
// before it have led.
func split(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(s string) bool { return s == "" || s == "." })
}

// look tells why a step of a path can be changed by others. Sticky is whether the
// directory before it keeps others from replacing what is not theirs.
func look(path string, sticky *bool, owners []int) error {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s does not exist on this host", path)
	}
	if err != nil {
		return err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s: its owner cannot be found out", path)
	}
	if !slices.Contains(owners, int(sys.Uid)) {
		return fmt.Errorf("%s belongs to the account %d, which could change it; it has to be of root, or of the account that runs it", path, sys.Uid)
	}
	link := st.Mode()&fs.ModeSymlink != 0
	*sticky = st.IsDir() && st.Mode()&fs.ModeSticky != 0
	if !link && !*sticky && st.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s can be written by others (mode %v); take that away with chmod go-w", path, st.Mode().Perm())
	}
	return nil
}

// Identity is a file as it was looked at. It changes with the content, the owner
// and the rights of the file.
type Identity struct {
	Device  uint64 `json:"device"`
	Inode   uint64 `json:"inode"`
	Size    int64  `json:"size"`
	Changed int64  `json:"changed"` // in nanoseconds
}

// Identify looks at a file, through links.
func Identify(path string) (Identity, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return Identity{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return Identity{Device: st.Dev, Inode: st.Ino, Size: st.Size, Changed: st.Ctim.Nano()}, nil
}

// Check reports why the file at the path is not the one that was looked at.
func (i Identity) Check(path string) error {
	now, err := Identify(path)
	if err != nil {
		return err
	}
	if now != i {
		return fmt.Errorf("%s was changed or replaced after it was checked, and was not started", path)
	}
	return nil
}
