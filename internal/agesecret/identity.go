package agesecret

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"filippo.io/age"

	"github.com/carillon-cron/carillon/internal/datadir"
)

// maxIdentities and maxIdentityBytes bound a file of identities.
const (
	maxIdentities    = 100
	maxIdentityBytes = 64 << 10
)

// Identities are keys by which values are opened. They are never changed, and may be used
// from any goroutine. Nil: none.
type Identities struct {
	all        []age.Identity
	recipients []string
}

// Recipient is that to which values are to be sealed: of the first identity. Empty: there
// is none.
func (ids *Identities) Recipient() string {
	if ids == nil || len(ids.recipients) == 0 {
		return ""
	}
	return ids.recipients[0]
}

// With returns the identities with others behind them.
func (ids *Identities) With(others *Identities) *Identities {
	switch {
	case ids == nil:
		return others
	case others == nil:
		return ids
	}
	return &Identities{slices.Concat(ids.all, others.all), slices.Concat(ids.recipients, others.recipients)}
}

// ReadIdentities reads a file as age-keygen writes it: a key AGE-SECRET-KEY-1... in a
// line, and comments that begin with # (E4).
func ReadIdentities(file string) (*Identities, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := datadir.Guarded(st); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	switch {
	case !st.Mode().IsRegular():
		return nil, fmt.Errorf("%s: is not a plain file", file)
	case st.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%s: has the mode %04o: others can read the key; chmod 600 it", file, st.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, maxIdentityBytes+1))
	if err != nil {
		return nil, err
	}
	ids, err := ParseIdentities(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return ids, nil
}

// ParseIdentities reads identities. Its errors have no part of a key (E3).
func ParseIdentities(text []byte) (*Identities, error) {
	if len(text) > maxIdentityBytes {
		return nil, fmt.Errorf("has more than %d bytes", maxIdentityBytes)
	}
	ids := &Identities{}
	for i, line := range bytes.Split(text, []byte("\n")) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		id, err := age.ParseX25519Identity(string(line))
		if err != nil {
			return nil, fmt.Errorf("line %d is not an identity of age (X25519), which begins with AGE-SECRET-KEY-1 and is written by age-keygen", i+1)
		}
		ids.all = append(ids.all, id)
		ids.recipients = append(ids.recipients, id.Recipient().String())
	}
	if len(ids.all) == 0 || len(ids.all) > maxIdentities {
		return nil, fmt.Errorf("has %d identities; 1 to %d are allowed: age-keygen makes one", len(ids.all), maxIdentities)
	}
	return ids, nil
}

// OpenIdentities reads the identity in a file, or makes one there where there is none (E4).
func OpenIdentities(file string) (*Identities, error) {
	ids, err := ReadIdentities(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return ids, err
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, err
	}
	text := "# opens secrets that are sealed to this minion (carillon secret): keep it, and give it to nobody\n# public key: " + id.Recipient().String() + "\n" + id.String() + "\n"
	if err := writeNew(file, text); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make an identity: %w", err)
	}
	return ReadIdentities(file) // another process may have been faster
}

// writeNew puts a file in place as a whole, unless there is one.
func writeNew(file, text string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(file), ".new-*") // 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Link(f.Name(), file)
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
