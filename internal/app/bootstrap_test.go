package app

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestTheFileOfABootstrapTokenGoes: once its token is good for nothing, and not before that
// is known.
func TestTheFileOfABootstrapTokenGoes(t *testing.T) {
	t.Parallel()
	yes := func(string) (bool, error) { return true, nil }
	no := func(string) (bool, error) { return false, nil }
	for name, tc := range map[string]struct {
		age  time.Duration
		good func(string) (bool, error)
		gone bool
	}{
		"used":      {time.Hour, no, true},
		"good":      {time.Hour, yes, false},
		"new":       {bootstrapFresh / 2, no, false},
		"not known": {time.Hour, func(string) (bool, error) { return false, errors.New("no etcd") }, false},
		"its text":  {time.Hour, func(text string) (bool, error) { return text != "ct_x", nil }, true},
	} {
		path := filepath.Join(t.TempDir(), bootstrapName)
		if err := writeSecret(path, "ct_x"); err != nil {
			t.Fatal(err)
		}
		gone, err := dropBootstrap(path, time.Now().Add(tc.age), tc.good)
		if (err != nil) != (name == "not known") || gone != tc.gone {
			t.Errorf("%s: removed %v, %v", name, gone, err)
		}
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) != tc.gone {
			t.Errorf("%s: the file: %v", name, err)
		}
	}
	if gone, err := dropBootstrap(filepath.Join(t.TempDir(), "none"), time.Now(), no); gone || err != nil {
		t.Errorf("no file: removed %v, %v", gone, err)
	}
}
