package worker

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
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

// scripts keeps the texts of scripts as files, by their hash and owner. The one
// that the minion itself owns is what others are made from.
type scripts struct {
	dir string
	// total is scriptTotal; tests have less.
	total int64

	mu sync.Mutex
	// mu guards checked: files whose content was looked at by this process.
	checked map[string]bool
}

func (s *scripts) path(uid int, sum string) string {
	return filepath.Join(s.dir, strconv.Itoa(uid)+"-"+sum)
}

// file returns the path of a file with the text that only the account can read.
// Without source the text has to be there (has).
func (s *scripts) file(sum, source string, acct *account) (string, error) {
	if source != "" && job.ScriptSum(source) != sum {
		return "", fmt.Errorf("the text of script %.12s is not what its hash says", sum)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	uid, gid := acct.ids()
	path := s.path(uid, sum)
	if s.used(path) {
		return path, nil
	}
	if b, err := os.ReadFile(path); err != nil || job.ScriptSum(string(b)) != sum {
		if source == "" {
			if source, err = s.read(sum); err != nil {
				return "", err
			}
		}
		if err := writeOwned(path, source, uid, gid); err != nil {
			return "", err
		}
	}
	s.check(path)
	return path, nil
}

// used reports whether a file was checked and is there; it stays then.
func (s *scripts) used(path string) bool {
	if !s.checked[path] {
		return false
	}
	st, err := os.Lstat(path)
	if err != nil {
		return false
	}
	if now := time.Now(); now.Sub(st.ModTime()) > scriptFresh/2 {
		_ = os.Chtimes(path, now, now) // in use: it stays
	}
	return true
}

func (s *scripts) check(path string) {
	if s.checked == nil {
		s.checked = map[string]bool{}
	}
	s.checked[path] = true
}

// read returns the minion's own copy of a text.
func (s *scripts) read(sum string) (string, error) {
	b, err := os.ReadFile(s.path(os.Geteuid(), sum))
	if err == nil && job.ScriptSum(string(b)) != sum {
		err = errors.New("its content is another one")
	}
	if err != nil {
		return "", fmt.Errorf("text %.12s: %w", sum, err)
	}
	return string(b), nil
}

// has reports whether the minion has a text.
func (s *scripts) has(sum string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.path(os.Geteuid(), sum)
	if s.used(own) {
		return true
	}
	if _, err := s.read(sum); err != nil {
		return false
	}
	now := time.Now()
	_ = os.Chtimes(own, now, now)
	s.check(own)
	return true
}

// keep stores a text that was asked for.
func (s *scripts) keep(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.path(os.Geteuid(), job.ScriptSum(text))
	if err := writeOwned(own, text, os.Geteuid(), os.Getegid()); err != nil {
		return err
	}
	s.check(own)
	return nil
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
	for _, f := range files {
		age := now.Sub(f.ModTime())
		if age > scriptKeep || total > limit && age > scriptFresh {
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

// writeOwned writes a file, as a whole or not at all, that only its owner can read.
func writeOwned(path, text string, uid, gid int) error {
	f, err := os.CreateTemp(filepath.Dir(path), newFile+"*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Chmod(0o700)
	}
	if err == nil && uid != os.Geteuid() {
		err = f.Chown(uid, gid)
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
