package datadir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestMake(t *testing.T) {
	for name, tc := range map[string]struct {
		before     fs.FileMode // 0: there is none
		mode, want fs.FileMode
		told       int
	}{
		"new":                {mode: Private, want: 0o700},
		"new, passable":      {mode: Passable, want: 0o711},
		"open":               {before: 0o755, mode: Private, want: 0o700, told: 1},
		"for the group":      {before: 0o770, mode: Passable, want: 0o710, told: 1},
		"already good":       {before: 0o700, mode: Private, want: 0o700},
		"closer than asked":  {before: 0o700, mode: Passable, want: 0o700},
		"writable by others": {before: 0o777, mode: Passable, want: 0o711, told: 1},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			if tc.before != 0 {
				if err := errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, tc.before)); err != nil {
					t.Fatal(err)
				}
			}
			core, logs := observer.New(zap.WarnLevel)
			if err := Make(dir, tc.mode, zap.New(core)); err != nil {
				t.Fatal(err)
			}
			st, err := os.Stat(dir)
			if err != nil {
				t.Fatal(err)
			}
			if got := st.Mode().Perm(); got != tc.want {
				t.Errorf("mode %#o, want %#o", got, tc.want)
			}
			if logs.Len() != tc.told {
				t.Errorf("told %d times, want %d", logs.Len(), tc.told)
			}
		})
	}
}

func TestMakeRefusesWhatBelongsToOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a directory away")
	}
	dir := t.TempDir()
	if err := os.Chown(dir, 4711, -1); err != nil {
		t.Fatal(err)
	}
	err := Make(dir, Private, zap.NewNop())
	if !errors.Is(err, ErrOpen) || !strings.Contains(err.Error(), "chown 0 "+dir) {
		t.Errorf("error %v, want ErrOpen and what to do", err)
	}
}

func TestMakeClosesNoDirectoryOfOthers(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(dir, 0o777|os.ModeSticky), os.WriteFile(filepath.Join(dir, "x"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := Make(dir, Private, zap.NewNop(), "lock"); !errors.Is(err, ErrOpen) || !strings.Contains(err.Error(), "below it") {
		t.Errorf("error %v, want ErrOpen and what to do", err)
	}
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o777 {
		t.Errorf("mode %v (%v), want it as it was", st.Mode(), err)
	}
	if err := os.WriteFile(filepath.Join(dir, "lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Make(dir, Private, zap.NewNop(), "lock"); err != nil {
		t.Errorf("our own was not closed: %v", err)
	}
}
