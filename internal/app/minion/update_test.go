package minion

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/release"
	"github.com/carillon-cron/carillon/job"
)

func newKey(t *testing.T) (ed25519.PublicKey, ed25519.PrivateKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return public, private
}

// signed returns a signed release whose program is a file with some text.
func signed(t *testing.T, key ed25519.PrivateKey, number release.Number, change func(*release.Manifest)) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "worker")
	if err := os.WriteFile(path, []byte("program"), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("program"))
	m := release.Manifest{Release: number, Version: "v", Expires: time.Now().Add(time.Hour), Artifacts: map[release.Platform]release.Artifact{
		release.PlatformOf(runtime.GOOS, runtime.GOARCH): {URL: "file://" + path, Size: 7, SHA256: hex.EncodeToString(sum[:])},
	}}
	if change != nil {
		change(&m)
	}
	s, err := release.Sign(m, key)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What is wrong for good is given up, what may be right later is tried again,
// and only what is signed is staged.
func TestStage(t *testing.T) {
	t.Parallel()
	public, private := newKey(t)
	_, stranger := newKey(t)
	here := release.PlatformOf(runtime.GOOS, runtime.GOARCH)
	for name, c := range map[string]struct {
		offer offer
		want  error
		// later: another try may succeed.
		later bool
	}{
		"good":        {offer: offer{7, signed(t, private, 7, nil)}},
		"stranger":    {offer: offer{7, signed(t, stranger, 7, nil)}, want: release.ErrSignature},
		"nonsense":    {offer: offer{7, []byte("{")}, want: release.ErrInvalid},
		"expired":     {offer: offer{7, signed(t, private, 7, func(m *release.Manifest) { m.Expires = time.Now().Add(-time.Hour) })}, want: release.ErrExpired},
		"another":     {offer: offer{8, signed(t, private, 7, nil)}, want: errOther},
		"other bytes": {offer: offer{7, signed(t, private, 7, func(m *release.Manifest) { a := m.Artifacts[here]; a.Size = 6; m.Artifacts[here] = a })}, want: release.ErrMismatch},
		"no program": {
			offer: offer{7, signed(t, private, 7, func(m *release.Manifest) {
				m.Artifacts = map[release.Platform]release.Artifact{"plan9/mips": m.Artifacts[here]}
			})}, want: release.ErrNoArtifact,
		},
		"nothing there": {
			offer: offer{7, signed(t, private, 7, func(m *release.Manifest) {
				a := m.Artifacts[here]
				a.URL += ".not"
				m.Artifacts[here] = a
			})}, want: os.ErrNotExist, later: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, err := newUpdater(Update{On: true, Keys: []ed25519.PublicKey{public}, Threshold: 1, Dir: t.TempDir()}, zap.NewNop())
			if err != nil {
				t.Fatal(err)
			}
			err = u.stage(context.Background(), c.offer)
			if !errors.Is(err, c.want) {
				t.Errorf("stage = %v, want %v", err, c.want)
			}
			if c.want != nil && permanent(err) == c.later {
				t.Errorf("permanent = %v", permanent(err))
			}
			if s, serr := u.in.State(); serr != nil || (s.Staged.Release == 7) != (err == nil) {
				t.Errorf("state: %+v, %v", s, serr)
			}
		})
	}
}

// Of two releases that were given up, the one that was given up last is told.
func TestFactsOfReleases(t *testing.T) {
	t.Parallel()
	u, err := newUpdater(Update{Own: 4}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(release.Facts{Release: 4}, release.FactsOf(u.facts())); diff != "" {
		t.Error(diff)
	}
	if u, err = newUpdater(Update{On: true, Own: 4, Dir: t.TempDir()}, zap.NewNop()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(release.Facts{On: true, Release: 4}, release.FactsOf(u.facts())); diff != "" {
		t.Error(diff)
	}
	at := time.Now()
	s := release.State{Failures: []release.Failure{
		{Program: release.Program{Manifest: 5}, Reason: "crashed\nhard", At: at.Add(time.Minute), Final: true},
		{Program: release.Program{Manifest: 6}, Reason: "host died", At: at.Add(time.Hour)},
	}}
	for _, c := range []struct {
		refused failure
		want    string
	}{
		{failure{}, "5 crashed; hard"},
		{failure{9, "unsigned", at}, "5 crashed; hard"},
		{failure{9, "unsigned", at.Add(time.Hour)}, "9 unsigned"},
	} {
		u.refused = c.refused
		f := u.failed(&s)
		if got := fmt.Sprint(f.number, " ", f.reason); got != c.want {
			t.Errorf("failed = %q, want %q", got, c.want)
		}
	}
}

// A program on trial that knows its own number does not tell it before it is
// confirmed: nodes would take it to work.
func TestTrialIsNotTold(t *testing.T) {
	t.Parallel()
	for state, want := range map[string]release.Number{
		`{"floor":{"release":6},"trial":{"release":7,"manifest":7}}`:                                      6,
		`{"floor":{"release":5},"current":{"release":5,"manifest":5},"trial":{"release":7,"manifest":7}}`: 5,
		`{"floor":{"release":7},"current":{"release":7,"manifest":7}}`:                                    7,
		`{"floor":{"release":7}}`: 7,
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "state.json"), []byte(state), 0o600); err != nil {
			t.Fatal(err)
		}
		u, err := newUpdater(Update{On: true, Own: 7, Dir: dir}, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		if got := release.FactsOf(u.facts()).Release; got != want {
			t.Errorf("release %d is told, want %d, with %s", got, want, state)
		}
	}
}

// Metrics tell what the state on the disk says, and of a minion that does not
// update itself no more than its own number.
func TestMetricsOfReleases(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const state = `{"current":{"release":5,"manifest":7},"failures":[{"program":{"manifest":8},"final":true},{"program":{"manifest":9}}]}`
	if err := os.WriteFile(filepath.Join(dir, "state.json"), []byte(state), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cfg  Update
		want map[string]float64
	}{
		"updates itself": {Update{On: true, Own: 4, Dir: dir}, map[string]float64{
			"carillon_minion_release": 7, "carillon_minion_releases_rolled_back": 2, "carillon_minion_releases_given_up_total": 1,
		}},
		"does not": {Update{Own: 4, Dir: dir}, map[string]float64{"carillon_minion_release": 4}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, err := newUpdater(c.cfg, zap.NewNop())
			if err != nil {
				t.Fatal(err)
			}
			u.givenUp.Inc()
			reg := prometheus.NewRegistry()
			if err := u.register(reg); err != nil {
				t.Fatal(err)
			}
			families, err := reg.Gather()
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]float64{}
			for _, f := range families {
				m := f.GetMetric()[0]
				got[f.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Only the newest of the releases that were told and not looked at is kept.
func TestNewestOfferCounts(t *testing.T) {
	t.Parallel()
	u, err := newUpdater(Update{}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	u.offer(1, nil)
	u.offer(2, nil)
	if o := <-u.offers; o.number != 2 {
		t.Errorf("offer %d", o.number)
	}
}

func TestUpdateSettings(t *testing.T) {
	t.Parallel()
	public, _ := newKey(t)
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte(release.FormatPublicKey(public)), 0o600); err != nil {
		t.Fatal(err)
	}
	open, none := filepath.Join(t.TempDir(), "open"), filepath.Join(t.TempDir(), "none")
	for _, err := range []error{os.WriteFile(open, []byte(release.FormatPublicKey(public)), 0o600), os.Chmod(open, 0o666), os.WriteFile(none, nil, 0o600)} { // that is what is tested
		if err != nil {
			t.Fatal(err)
		}
	}
	parse := func(args ...string) (Update, error) {
		o, err := Parse(append([]string{"--data-dir", "/d"}, args...), func(string) (string, bool) { return "", false })
		if err != nil {
			t.Fatal(err)
		}
		return o.update("3")
	}
	if u, err := parse(); err != nil || u.On || u.Own != 3 {
		t.Errorf("update = %+v, %v", u, err)
	}
	if u, err := parse("--self-update", "--update-keys", file); err != nil || !u.On || u.Dir != "/d/update" || len(u.Keys) != 1 || u.Gate != time.Minute {
		t.Errorf("update = %+v, %v", u, err)
	}
	for want, args := range map[string][]string{
		"--update-keys: is not given": {"--self-update", "--update-gate", "-1s"},
		"--update-gate: is -1s":       {"--self-update", "--update-gate", "-1s"},
		"no such file":                {"--self-update", "--update-keys", "/nowhere"},
		"no key found":                {"--self-update", "--update-keys", none},
		"written by others":           {"--self-update", "--update-keys", open},
		"--update-threshold: is 2":    {"--self-update", "--update-keys", file, "--update-threshold", "2"},
	} {
		var invalid *job.InvalidError
		if _, err := parse(args...); !errors.As(err, &invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
}
