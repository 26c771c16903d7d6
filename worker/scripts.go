package worker

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/carillon-cron/carillon/job"
)

const (
	// scriptKeep is how long a script is kept that no task uses.
	scriptKeep = 7 * 24 * time.Hour
	// scriptTotal bounds the bytes of all scripts; those used last stay.
	scriptTotal = 64 << 20
	// scriptFresh: a script that was used so lately is about to be started.
	scriptFresh = 10 * time.Minute
)

// scripts keeps the texts that were asked for as files, by their hash. They are
// the minion's own, in a directory that is closed to all others, and what is read
// of them counts only if it has the hash: each task gets a copy (lend).
type scripts struct {
	dir string
	// total is scriptTotal; tests have less.
	total int64

	mu sync.Mutex // guards the files
}

func (s *scripts) path(sum string) string {
	return filepath.Join(s.dir, strconv.Itoa(os.Geteuid())+"-"+sum)
}

// text returns the text with a hash: source, or where that is empty, the one
// that is kept.
func (s *scripts) text(sum, source string) (string, error) {
	if source != "" {
		if job.ScriptSum(source) != sum {
			return "", fmt.Errorf("the text of script %.12s is not what its hash says", sum)
		}
		return source, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.read(sum)
}

// read returns a text that is kept; it stays then.
func (s *scripts) read(sum string) (string, error) {
	path := s.path(sum)
	b, err := os.ReadFile(path)
	if err == nil && job.ScriptSum(string(b)) != sum {
		err = errors.New("its content is another one")
	}
	if err != nil {
		return "", fmt.Errorf("text %.12s: %w", sum, err)
	}
	if st, err := os.Lstat(path); err == nil && time.Since(st.ModTime()) > scriptFresh/2 {
		now := time.Now()
		_ = os.Chtimes(path, now, now) // in use: it stays
	}
	return string(b), nil
}

// has reports whether the minion has a text.
func (s *scripts) has(sum string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.read(sum)
	return err == nil
}

// keep stores a text that was asked for.
func (s *scripts) keep(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return writeFile(s.path(job.ScriptSum(text)), text, func(f *os.File) error { return f.Chmod(0o600) })
}

// missing returns the hashes of the texts that an order needs and that are
// neither in it nor here.
func (s *scripts) missing(o *job.Order) []string {
	var sums []string
	want := func(sum, source string) {
		if source == "" && !slices.Contains(sums, sum) && !s.has(sum) {
			sums = append(sums, sum)
		}
	}
	if o.Script != nil && o.ScriptSHA256 != "" {
		want(o.ScriptSHA256, o.Script.Source)
	}
	for i := range o.Steps {
		if t := o.Steps[i].Script; t != nil {
			want(t.SHA256, t.Source)
		}
	}
	return sums
}

// clean removes scripts that were not used for long, and the ones used longest
// ago while all have too many bytes.
func (s *scripts) clean(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return
	}
	files := make([]os.FileInfo, 0, len(entries))
	var total int64
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			files = append(files, info)
			total += info.Size()
		}
	}
	slices.SortFunc(files, func(a, b os.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	limit := cmp.Or(s.total, scriptTotal)
	own := strconv.Itoa(os.Geteuid()) + "-"
	for _, f := range files {
		age := now.Sub(f.ModTime())
		former := !strings.HasPrefix(f.Name(), own) // former releases kept a copy for each account
		if age > scriptKeep || (total > limit || former) && age > scriptFresh {
			_ = os.Remove(filepath.Join(s.dir, f.Name()))
			total -= f.Size()
		}
	}
}

// ids are the numbers of an account.
func (a *account) ids() (uid, gid int) {
	if c := a.credential; c != nil {
		return int(c.UID), int(c.GID)
	}
	return os.Geteuid(), os.Getegid()
}

// lend writes a file that the account can read and run, and cannot change: it
// stays the minion's own.
func (a *account) lend(path, text string) error {
	return writeFile(path, text, func(f *os.File) error {
		if a.credential == nil {
			return f.Chmod(0o500)
		}
		err := f.Chmod(0o500)
		if err == nil && syscall.Setxattr(f.Name(), aclName, readersACL(a.credential.UID), 0) == nil {
			return nil
		}
		// A file system without access lists: the account's group reads it.
		if err == nil {
			err = f.Chown(-1, int(a.credential.GID))
		}
		return errors.Join(err, f.Chmod(0o550))
	})
}

// give writes a file that is the account's own, and closed to others.
func (a *account) give(path, text string) error {
	return writeFile(path, text, func(f *os.File) error {
		err := f.Chmod(0o600)
		if uid, gid := a.ids(); err == nil && uid != os.Geteuid() {
			err = f.Chown(uid, gid)
		}
		return err
	})
}

// aclName is where Linux keeps the access list of a file.
const aclName = "system.posix_acl_access"

// readersACL returns the access list by which the owner and one account read and
// run a file, and nobody else.
func readersACL(uid uint32) []byte {
	const (
		version                          = 2
		owner, user, group, mask, others = 0x01, 0x02, 0x04, 0x10, 0x20
		read                             = 4 | 1
		nobody                           = ^uint32(0)
	)
	b := binary.LittleEndian.AppendUint32(nil, version)
	for _, e := range []struct {
		tag, rights uint16
		id          uint32
	}{{owner, read, nobody}, {user, read, uid}, {group, 0, nobody}, {mask, read, nobody}, {others, 0, nobody}} {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.rights)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return b
}

// writeFile writes a file, as a whole or not at all; finish gives it its rights.
func writeFile(path, text string, finish func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), newFile+"*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err == nil {
		err = finish(f)
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// newFile begins the names of files that are not complete yet.
const newFile = ".new-"

func isNew(name string) bool { return strings.HasPrefix(name, newFile) }
