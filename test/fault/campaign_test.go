package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A campaign stops at nothing, keeps a line for each run, and goes on where it was
// broken off.
func TestCampaignGoesOn(t *testing.T) {
	t.Parallel()
	var played []string
	c := &campaign{
		commit: "c1", scenarios: []string{"kill", "drain"}, seeds: 2, first: 5, length: time.Second, loads: []int{0, 4}, jobs: 10, hangs: time.Minute, dir: t.TempDir(),
		play: func(_ context.Context, args []string) (string, error) {
			text := strings.Join(args, " ")
			played = append(played, text)
			switch {
			case strings.Contains(text, "kill -seed 5 -load 4"):
				return "missing: a run\nFAULT scenario=kill missing=1\nagain: go run\n", errors.New("exit status 1")
			case strings.Contains(text, "drain -seed 6 -load 0"):
				return "fault: the cluster does not start\n", errors.New("exit status 1")
			}
			return "note\nFAULT scenario=x missing=0\n", nil
		},
	}
	var out bytes.Buffer
	unclean, err := c.run(t.Context(), &out)
	if err != nil || unclean != 2 || len(played) != 8 {
		t.Fatalf("%d of %d are not clean, want 2 of 8 (%v):\n%s", unclean, len(played), err, out.String())
	}
	for _, want := range []string{
		"UNCLEAN commit=c1 for=1s jobs=10 scenario=kill seed=5 load=4: FAULT scenario=kill missing=1 (see ",
		"UNCLEAN commit=c1 for=1s jobs=10 scenario=drain seed=6 load=0: fault: the cluster does not start (see ",
		"clean commit=c1 for=1s jobs=10 scenario=drain seed=6 load=4: FAULT scenario=x missing=0\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	if text, err := os.ReadFile(filepath.Join(c.dir, "kill-5-load4-c1.txt")); err != nil || !strings.HasPrefix(string(text), "missing: a run\n") {
		t.Errorf("what an unclean run printed was not kept: %q %v", text, err)
	}

	// Broken off after the first line.
	lines := filepath.Join(c.dir, "lines")
	text, err := os.ReadFile(lines)
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	if err := os.WriteFile(lines, []byte(first+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	played = nil
	if unclean, err := c.run(t.Context(), &out); err != nil || unclean != 2 || len(played) != 7 {
		t.Errorf("%d were played again, want 7; %d not clean, want 2 (%v)", len(played), unclean, err)
	}
	played = nil
	if unclean, err := c.run(t.Context(), &out); err != nil || unclean != 2 || len(played) != 0 {
		t.Errorf("%d were played a third time, want none; %d not clean, want 2 (%v)", len(played), unclean, err)
	}
	c.commit = "c2"
	if _, err := c.run(t.Context(), &out); err != nil || len(played) != 8 {
		t.Errorf("%d of another commit were played, want 8 (%v)", len(played), err)
	}
	played, c.commit = nil, "c2-dirty"
	for range 2 {
		if _, err := c.run(t.Context(), &out); err != nil {
			t.Fatal(err)
		}
	}
	if len(played) != 16 {
		t.Errorf("%d of what is no commit were played, want 16", len(played))
	}

	ctx, stop := context.WithCancel(t.Context())
	stop()
	c.commit = "c3"
	if _, err := c.run(ctx, &out); !errors.Is(err, context.Canceled) {
		t.Errorf("a campaign that is broken off says %v", err)
	}
	if known, err := c.known(); err != nil || len(known) == 0 {
		t.Fatal(known, err)
	} else {
		for key := range known {
			if strings.Contains(key, "c3") {
				t.Errorf("a run that was broken off has a line: %s", key)
			}
		}
	}
}
