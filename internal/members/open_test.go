package members

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// A data directory that is not this node's, or has lost what it needs, is refused with
// what to do; nothing is founded or left behind in silence.
func TestDataDirectoriesThatAreRefused(t *testing.T) {
	t.Parallel()
	own := Addresses{PeerListen: "127.0.0.1:7480", ClientListen: "127.0.0.1:7479", PeerURL: "https://127.0.0.1:7480", ClientURL: "https://127.0.0.1:7479"}
	good := State{Schema: 1, Node: "a", Prefix: "/carillon", Endpoints: []string{own.ClientURL, "https://b:7479"}}
	for name, tc := range map[string]struct {
		edit func(*State)
		want string
	}{
		"of another node":        {func(s *State) { s.Node = "b" }, "is of node b, and this one is called a: give --node b"},
		"another prefix":         {func(s *State) { s.Prefix = "/other" }, "the cluster's keys begin with /other"},
		"the only data is gone":  {func(s *State) { s.Endpoints = s.Endpoints[:1] }, "this node knows no other member: restore a backup"},
		"nobody is known":        {func(s *State) { s.Endpoints = nil }, "this node knows no other member: restore a backup"},
		"its data alone is gone": {func(*State) {}, ""},
	} {
		dir := t.TempDir()
		if _, err := openFiles(dir, "a", zap.NewNop()); err != nil {
			t.Fatal(err)
		}
		s := good
		tc.edit(&s)
		if err := s.write(dir); err != nil {
			t.Fatal(err)
		}
		k, err := Resume(Config{Node: "a", DataDir: dir, Keys: etcdkv.NewKeys(""), At: own}, zap.NewNop())
		if tc.want == "" && (err != nil || k.Runs()) || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
	if _, err := Resume(Config{Node: "a", DataDir: t.TempDir(), Keys: etcdkv.NewKeys("")}, zap.NewNop()); err == nil {
		t.Error("a directory without a state is gone on from")
	}
}

func TestTokensOfOtherClusters(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files, err := openFiles(dir, "a", zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	var tokens []string
	for i := range 2 {
		ca, err := auth.NewAuthority("test", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		token, err := auth.NewToken(ca.Certificate())
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, token.Text())
		if i > 0 {
			continue
		}
		csr, err := files.Request()
		if err != nil {
			t.Fatal(err)
		}
		cert, err := ca.SignMember(csr, "a", nil, time.Now())
		if err == nil {
			err = files.Install(cert, ca.Certificate().Raw)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := OfToken(dir, tokens[0]); err != nil {
		t.Errorf("of the cluster: %v", err)
	}
	if err := OfToken(dir, tokens[1]); err == nil || !strings.Contains(err.Error(), "is of another cluster than the join token") {
		t.Errorf("of another: %v", err)
	}
}
