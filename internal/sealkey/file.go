package sealkey

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxFile bounds the file.
const maxFile = 64 << 10

// preamble is what a file begins with that is made.
const preamble = `# What this cluster keeps of its own in etcd is sealed with the first of these keys; the
# others only open. Each node has this file. Keep it secret (0600), and a copy of it where
# no backup of etcd is: without it, nothing that is sealed can be read again.
`

// ParseRing reads the content of a file. The error does not repeat a part of it.
func ParseRing(content []byte) (Ring, error) {
	var r Ring
	if len(content) > maxFile {
		return r, fmt.Errorf("has more than %d bytes; it is to hold seal keys, one a line", maxFile)
	}
	n := 0
	for line := range strings.Lines(string(content)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		k, err := ParseKey(line)
		switch {
		case err != nil:
			return Ring{}, fmt.Errorf("line %d: %w", n, err)
		case r.Has(k.id):
			return Ring{}, fmt.Errorf("line %d: the key %s is there twice; take one out", n, k.id)
		case len(r.keys) == maxKeys:
			return Ring{}, fmt.Errorf("line %d: there are more than %d keys; take those out that nothing is sealed by (carillon doctor)", n, maxKeys)
		}
		r.keys = append(r.keys, k)
	}
	if len(r.keys) == 0 {
		return Ring{}, errors.New("has no key in it; copy the file of a node that has one")
	}
	return r, nil
}

// ReadFile reads a file. The error wraps fs.ErrNotExist where there is none.
func ReadFile(path string) (Ring, error) {
	content, _, err := read(path)
	if err != nil {
		return Ring{}, err
	}
	r, err := ParseRing(content)
	if err != nil {
		return Ring{}, fmt.Errorf("seal key file %s: %w", path, err)
	}
	return r, nil
}

func read(path string) ([]byte, fs.FileInfo, error) {
	// A pipe in its place must not hold the node up.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("seal key file: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, nil, fmt.Errorf("seal key file: %w", err)
	}
	if err := private(st); err != nil {
		return nil, nil, fmt.Errorf("seal key file %s: %w", path, err)
	}
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, nil, fmt.Errorf("seal key file: %w", err)
	}
	return content, st, nil
}

// private tells why others could read or change a file.
func private(st fs.FileInfo) error {
	if !st.Mode().IsRegular() {
		return errors.New("is not a file; give one")
	}
	if mode := st.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("other accounts may use it (mode %04o); make it 0600 with chmod, and if one may have read it, go on to another key with: scheduler --rotate-seal-key", mode)
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if us := os.Geteuid(); ok && us != 0 && sys.Uid != 0 && int(sys.Uid) != us {
		return fmt.Errorf("belongs to the account %d, which may read it; make it this account's (%d) with chown", sys.Uid, us)
	}
	return nil
}

// Make makes a file with a new key, and reports whether it did: where there is one
// already, it is read.
func Make(path string) (Ring, bool, error) {
	if r, err := ReadFile(path); !errors.Is(err, fs.ErrNotExist) {
		return r, false, err
	}
	k, err := New()
	if err != nil {
		return Ring{}, false, err
	}
	next, err := written(path, []byte(preamble+k.Text()+"\n"), nil)
	if err != nil {
		return Ring{}, false, err
	}
	defer func() { _ = os.Remove(next) }() // it has its name, or is of no use
	// A link takes no place that is taken: another node of this host may be as quick.
	if err := os.Link(next, path); err != nil {
		if errors.Is(err, fs.ErrExist) {
			r, err := ReadFile(path)
			return r, false, err
		}
		return Ring{}, false, fmt.Errorf("make the seal key file: %w", err)
	}
	return NewRing(k), true, synced(filepath.Dir(path))
}

// Rotate puts a new key before those of a file, and returns all.
func Rotate(path string) (Ring, error) {
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Ring{}, fmt.Errorf("seal key file %s: there is none; name the one of the node, or its data directory: %w", path, fs.ErrNotExist)
	}
	if err != nil {
		return Ring{}, fmt.Errorf("seal key file: %w", err)
	}
	content, st, err := read(real)
	if err != nil {
		return Ring{}, err
	}
	old, err := ParseRing(content)
	if err != nil {
		return Ring{}, fmt.Errorf("seal key file %s: %w", path, err)
	}
	if len(old.keys) == maxKeys {
		return Ring{}, fmt.Errorf("seal key file %s has %d keys, the most there may be; take those out that nothing is sealed by (carillon doctor)", path, maxKeys)
	}
	k, err := New()
	if err != nil {
		return Ring{}, err
	}
	at := 0 // the first line that is a key
	for line := range bytes.Lines(content) {
		if bytes.HasPrefix(bytes.TrimSpace(line), []byte(Prefix)) {
			break
		}
		at += len(line)
	}
	next, err := written(real, append(append(bytes.Clone(content[:at]), k.Text()+"\n"...), content[at:]...), st)
	if err != nil {
		return Ring{}, err
	}
	if err := os.Rename(next, real); err != nil {
		_ = os.Remove(next)
		return Ring{}, fmt.Errorf("write the seal key file: %w", err)
	}
	return NewRing(append([]Key{k}, old.keys...)...), synced(filepath.Dir(real))
}

// written writes a new file beside path, for the owner of like (nil: us), and returns
// its name.
func written(path string, content []byte, like fs.FileInfo) (string, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // 0600
	if err != nil {
		return "", fmt.Errorf("write the seal key file: %w", err)
	}
	_, err = f.Write(content)
	if err == nil && like != nil {
		if sys, ok := like.Sys().(*syscall.Stat_t); ok && int(sys.Uid) != os.Geteuid() {
			err = f.Chown(int(sys.Uid), int(sys.Gid))
		}
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(f.Name())
		return "", fmt.Errorf("write the seal key file: %w", err)
	}
	return f.Name(), nil
}

// synced has a name in a directory outlast a crash of the host.
func synced(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("seal key file: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("seal key file: %w", err)
	}
	return nil
}
