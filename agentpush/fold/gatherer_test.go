package fold

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func show(t *testing.T, g *Gatherer) string {
	t.Helper()
	var b strings.Builder
	if err := Write(&b, g.Groups()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestBlocks checks what a person sees.
func TestBlocks(t *testing.T) {
	var g Gatherer
	for i := 1; i <= 120; i++ {
		version := "nginx/1.26.2\n"
		if i == 7 {
			version = "nginx/1.24.0" // and no line break
		}
		g.Add(fmt.Sprintf("web%03d", i), []byte(version))
	}
	g.Add("db1", nil)
	g.Add("db2", []byte("\n"))
	const want = rule + "web[001-006,008-120] (119)\n" + rule + "nginx/1.26.2\n" +
		rule + "db1\n" + rule +
		rule + "db2\n" + rule + "\n" +
		rule + "web007\n" + rule + "nginx/1.24.0\n"
	if diff := cmp.Diff(want, show(t, &g)); diff != "" {
		t.Error(diff)
	}
}

// TestEachHostOnce checks that however output is cut into pieces, every host is
// in the one group that has its whole output.
func TestEachHostOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var g Gatherer
		outputs := map[string]string{}
		for i := range rapid.IntRange(1, 12).Draw(t, "hosts") {
			host := fmt.Sprintf("h%d", i)
			outputs[host] = rapid.StringMatching("[ab\n]{0,6}").Draw(t, "output")
			g.Add(host, nil)
		}
		left := maps.Clone(outputs)
		for len(left) > 0 {
			for _, h := range slices.Sorted(maps.Keys(left)) {
				o := left[h]
				n := rapid.IntRange(0, len(o)).Draw(t, "cut")
				g.Add(h, []byte(o[:n]))
				if left[h] = o[n:]; o[n:] == "" {
					delete(left, h)
				}
				g.Groups() // looking at what is there changes nothing
			}
		}
		seen := 0
		for _, group := range g.Groups() {
			for _, h := range group.Hosts.Names() {
				seen++
				if want := strings.TrimSuffix(outputs[h], "\n"); want != strings.Join(group.Lines, "\n") {
					t.Fatalf("%s said %q, and is among those who said %q", h, want, group.Lines)
				}
			}
		}
		if seen != len(outputs) {
			t.Fatalf("%d hosts in groups, of %d", seen, len(outputs))
		}
	})
}

// TestClubakAgrees checks that the same is shown as by ClusterShell.
func TestClubakAgrees(t *testing.T) {
	if _, err := exec.LookPath("clubak"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("clubak is missing: install Debian's package clustershell")
		}
		t.Skip("clubak is missing: install Debian's package clustershell")
	}
	random := rand.New(rand.NewPCG(rand.Uint64(), 0))
	for range 8 {
		var g Gatherer
		var input strings.Builder
		for range 3 + random.IntN(200) {
			host := []string{"web%d", "web%02d", "db-%d", "solo"}[random.IntN(4)]
			if strings.Contains(host, "%") {
				host = fmt.Sprintf(host, random.IntN(40))
			}
			for range 1 + random.IntN(3) {
				text := []string{"up", "down", "", "a: b", "  tab\tbed "}[random.IntN(5)]
				fmt.Fprintf(&input, "%s:%s\n", host, text)
				g.Add(host, []byte(text+"\n"))
			}
		}
		cmd := exec.CommandContext(t.Context(), "clubak", "-b", "--color=never")
		cmd.Stdin = strings.NewReader(input.String())
		want, err := cmd.Output()
		if err != nil {
			t.Fatalf("clubak: %v", err)
		}
		if diff := cmp.Diff(string(want), show(t, &g)); diff != "" {
			t.Fatalf("input:\n%s\n(- clubak, + here):\n%s", input.String(), diff)
		}
	}
}

// TestManyAtOnce checks that hosts can report at the same time.
func TestManyAtOnce(t *testing.T) {
	var g Gatherer
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for _, piece := range []string{"a", "b\nc", "\n"} {
				g.Add(fmt.Sprintf("h%d", i), []byte(piece))
				g.Groups()
			}
		})
	}
	wg.Wait()
	groups := g.Groups()
	if len(groups) != 1 || groups[0].Hosts.Len() != 50 || !slices.Equal(groups[0].Lines, []string{"ab", "c"}) {
		t.Errorf("got %v", groups)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

// TestWriteFails checks that an error of the writer comes back.
func TestWriteFails(t *testing.T) {
	var g Gatherer
	g.Add("a", []byte("x\n"))
	if err := Write(full{}, g.Groups()); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("got %v", err)
	}
}

// BenchmarkGather gathers 20,000 hosts of which some differ.
func BenchmarkGather(b *testing.B) {
	for b.Loop() {
		var g Gatherer
		for i := range 20000 {
			g.Add(fmt.Sprintf("rack%d-web%05d", i/40, i), fmt.Appendf(nil, "kernel 6.1\nuptime %d days\n", i%7))
		}
		g.Groups()
	}
}
