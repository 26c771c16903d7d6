package target

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// fleet is a small set of hosts that differ in all that a target can ask for.
func fleet() []Host {
	addr := netip.MustParseAddr
	return []Host{
		{"web1", []netip.Addr{addr("10.1.0.1")}, map[string]string{"rack": "r1", "tier": "front"}, map[string]string{"os": "linux", "cores": "8"}, nil},
		{"web2", []netip.Addr{addr("10.1.0.2"), addr("fd00::2")}, map[string]string{"rack": "r2", "tier": "front"}, map[string]string{"os": "linux", "cores": "16"}, nil},
		{"web10", []netip.Addr{addr("10.2.0.1")}, map[string]string{"rack": "r1"}, map[string]string{"os": "windows", "cores": "4"}, nil},
		{"db01", []netip.Addr{addr("::ffff:10.3.0.1")}, map[string]string{"rack": "r2", "os": "label-wins"}, map[string]string{"os": "linux", "cores": "many"}, nil},
		{"bare", nil, nil, nil, nil},
	}
}

func groups() Groups {
	return Groups{
		"web": MustParse("web*"), "front": MustParse(`tier == front`), "rack1": MustParse(`@web and rack == r1`),
		"linux": MustParse(`os == linux`),
	}
}

// TestMatch checks whole expressions against the fleet.
func TestMatch(t *testing.T) {
	for source, want := range map[string]string{
		`*`:                             "bare,db01,web[1-2,10]",
		`web1`:                          "web1",
		`web`:                           "",
		`web*`:                          "web[1-2,10]",
		`web?`:                          "web[1-2]",
		`web[1-9]`:                      "web[1-2]",
		`web[1-20]`:                     "web[1-2,10]",
		`web[01-20]`:                    "web10",
		`web[1-11/9]`:                   "web[1,10]",
		`[a-d]*`:                        "bare,db01",
		`[^a-d]*`:                       "web[1-2,10]",
		`db[01-99]`:                     "db01",
		`db[1-99]`:                      "",
		`/eb1/`:                         "web[1,10]",
		`/^web\d$/`:                     "web[1-2]",
		`"web1" or "web*"`:              "web1",
		`10.1.0.0/16`:                   "web[1-2]",
		`10.3.0.1`:                      "db01",
		`10.3.0.0/24`:                   "db01",
		`fd00::/16`:                     "web2",
		`@web`:                          "web[1-2,10]",
		`@rack1`:                        "web[1,10]",
		`web*!web1`:                     "web[2,10]",
		`web[1-2]^web[2-10]`:            "web[1,10]",
		`web[1-2]&web[2-10]`:            "web2",
		`web1,db01`:                     "db01,web1",
		`web1,web2!web2,db01`:           "db01,web1",
		`web1 or db* and not db01`:      "web1",
		`(web1 or db*) and not db01`:    "web1",
		`not web*`:                      "bare,db01",
		`not web*,db01`:                 "bare",
		`os == "linux" and web*`:        "web[1-2]",
		`os == linux`:                   "web[1-2]",
		`fact.os == linux`:              "db01,web[1-2]",
		`label.os == label-wins`:        "db01",
		`os != linux`:                   "db01,web10",
		`not os == linux`:               "db01,web10",
		`os =~ /^l/`:                    "db01,web[1-2]",
		`os !~ /^l/`:                    "web10",
		`cores >= 8`:                    "web[1-2]",
		`cores < 8`:                     "web10",
		`cores > 8`:                     "web2",
		`cores <= 8`:                    "web[1,10]",
		`not cores >= 8`:                "web10",
		`has(tier)`:                     "web[1-2]",
		`not has(tier)`:                 "bare,db01,web10",
		`has(label.os)`:                 "db01",
		`has(fact.rack)`:                "",
		`tier == front or web10`:        "web[1-2,10]",
		`not (tier == front and web10)`: "bare,db01,web[1-2]",
		`tier == front ^ web2`:          "web1",
		`@front!web1`:                   "web2",
		`not @front`:                    "",
		`(web1, web2) and rack == r2 or @linux&*`: "web[1-2]",
	} {
		e, err := Parse(source)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		m, err := e.Bind(groups())
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		if got := NewNodeSet(m.Select(fleet()).Names...).String(); got != want {
			t.Errorf("%s: matches %q, want %q", source, got, want)
		}
	}
}

// TestUnknownIsReported checks which keys are to blame when it cannot be told
// whether a host matches, and that none is named where it does not matter.
func TestUnknownIsReported(t *testing.T) {
	for source, want := range map[string][]UnknownKey{
		`os == linux`:                             {{"os", 1, "bare"}},
		`not os == linux`:                         {{"os", 1, "bare"}},
		`label.rack == r1`:                        {{"label.rack", 1, "bare"}},
		`web* and tier == front`:                  {{"tier", 1, "web10"}},
		`tier == front and web*`:                  {{"tier", 1, "web10"}},
		`tier == front or *`:                      nil,
		`nope == 1`:                               {{"nope", 5, "web1"}},
		`nope == 1 and nape == 2`:                 {{"nape", 5, "web1"}, {"nope", 5, "web1"}},
		`nope == 1 and db02 or nape == 2 and db*`: {{"nape", 1, "db01"}},
		`cores > 1`:                               {{"cores", 2, "db01"}},
		`has(nope)`:                               nil,
		`not @front and @front`:                   {{"tier", 3, "web10"}},
		`nope == 1 & @front & db02 or @front`:     {{"tier", 3, "web10"}},
		`(@front and db02) or @front`:             {{"tier", 3, "web10"}},
	} {
		m, err := MustParse(source).Bind(groups())
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		if diff := cmp.Diff(want, m.Select(fleet()).Unknown); diff != "" {
			t.Errorf("%s (-want +got):\n%s", source, diff)
		}
	}
}

// TestGroupErrors checks that groups which cannot be resolved are told, all at
// once, before anything is matched.
func TestGroupErrors(t *testing.T) {
	saved := Groups{
		"a": MustParse("@b or x"), "b": MustParse("not @c"), "c": MustParse("@a"), "self": MustParse("@self"),
		"broken": MustParse("@gone,@lost"), "fine": MustParse("@leaf,@leaf"), "leaf": MustParse("x"),
	}
	if _, err := MustParse("@fine").Bind(saved); err != nil {
		t.Errorf("a group that is used twice is no cycle: %v", err)
	}
	_, err := MustParse("@self or @broken or @a").Bind(saved)
	var cycle *GroupCycleError
	var gone *UnknownGroupError
	if !errors.As(err, &cycle) || !slices.Equal(cycle.Path, []string{"a", "b", "c", "a"}) {
		t.Errorf("the cycle is not told: %v", err)
	}
	if !errors.As(err, &gone) || !slices.Equal(gone.Names, []string{"gone", "lost"}) {
		t.Errorf("the unknown groups are not told: %v", err)
	}
	if err == nil || !strings.Contains(err.Error(), "@self -> @self") {
		t.Errorf("the second cycle is not told: %v", err)
	}
	if err := saved.Check(); err == nil || !strings.Contains(err.Error(), "@a -> @b -> @c -> @a") {
		t.Errorf("Check does not tell the cycle: %v", err)
	}
	if err := groups().Check(); err != nil {
		t.Errorf("sound groups: %v", err)
	}
}

// TestGroupsAreAskedOnce checks that groups which name others twice do not cost
// twice at each level.
func TestGroupsAreAskedOnce(t *testing.T) {
	saved := Groups{"g0": MustParse("nope == 1 or x")}
	for i := range 64 {
		saved[fmt.Sprintf("h%d", i)] = MustParse(fmt.Sprintf("@g%d", i))
		saved[fmt.Sprintf("g%d", i+1)] = MustParse(fmt.Sprintf("@g%d & @h%d", i, i))
	}
	m, err := MustParse("@g64").Bind(saved)
	if err != nil {
		t.Fatal(err)
	}
	if r := m.Match(&Host{Name: "x"}); !r.Matched { // 2^64 steps, if asked each time
		t.Error("not matched")
	}
	if r := m.Match(&Host{Name: "y"}); r.Matched || !slices.Equal(r.Unknown, []string{"nope"}) {
		t.Errorf("got %+v", r)
	}
}

// TestLaws checks that the operators are those of sets, and that turning the
// sides of "and" and "or" round changes neither matches nor blame.
func TestLaws(t *testing.T) {
	saved := Groups{"g1": MustParse("web*"), "g2": MustParse("tier == front")}
	rapid.Check(t, func(t *rapid.T) {
		a, b := nodeGen(2).Draw(t, "a"), nodeGen(2).Draw(t, "b")
		ask := func(source string) Selection {
			m, err := MustParse(source).Bind(saved)
			if err != nil {
				t.Fatal(err)
			}
			return m.Select(fleet())
		}
		a, b = "("+a+")", "("+b+")"
		for _, law := range [][2]string{
			{a + " and " + b, b + " and " + a},
			{a + " or " + b, b + " or " + a},
			{a + "," + b, a + " or " + b},
			{a + "&" + b, a + " and " + b},
			{a + "!" + b, a + " and not " + b},
			{"not (" + a + " and " + b + ")", "not " + a + " or not " + b},
			{"not not " + a, a},
			{a + "^" + b, b + "^" + a},
		} {
			if diff := cmp.Diff(ask(law[0]), ask(law[1])); diff != "" {
				t.Fatalf("%s is not %s:\n%s", law[0], law[1], diff)
			}
		}
	})
}

// TestPatternIsTheSet checks that matching by a pattern with ranges admits what
// the pattern expands to, and nothing else.
func TestPatternIsTheSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		source := sourceGen(true).Draw(t, "source")
		set, err := ParseNodeSet(source)
		if err != nil {
			t.Fatal(err)
		}
		m, err := MustParse(source).Bind(nil)
		if err != nil {
			t.Fatal(err)
		}
		other, err := ParseNodeSet(sourceGen(true).Draw(t, "other"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range append(set.Names(), other.Names()...) {
			if m.Match(&Host{Name: name}).Matched != set.Has(name) {
				t.Fatalf("%s: in the set %s: %v; the expression differs", name, source, set.Has(name))
			}
		}
	})
}

// bigFleet is as many hosts as one node serves.
func bigFleet() []Host {
	hosts := make([]Host, 20000)
	for i := range hosts {
		hosts[i] = Host{
			Name:   fmt.Sprintf("rack%d-web%05d", i/40, i),
			Addrs:  []netip.Addr{netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})},
			Labels: map[string]string{"tier": []string{"front", "back"}[i%2], "rack": fmt.Sprint(i / 40)},
			Facts:  map[string]string{"os": []string{"linux", "windows"}[i%3/2], "cores": fmt.Sprint(i % 64)},
		}
	}
	return hosts
}

// BenchmarkSelect matches a fleet of 20,000 hosts.
func BenchmarkSelect(b *testing.B) {
	hosts := bigFleet()
	saved := Groups{"front": MustParse("tier == front"), "small": MustParse("@front and cores < 8")}
	for name, source := range map[string]string{
		"names":    `rack[1-300]-web[00000-19999/2]!rack7-web*`,
		"compound": `os == "linux" and rack*-web* and (cores >= 8 or @small) and not 10.0.7.0/24`,
		"regexp":   `/^rack\d+-web0*[1-9]+$/`,
		"unknown":  `kernel =~ /^6/ and rack*`,
		"globs":    `*a*-*w*e*b*0*1*`,
	} {
		m, err := MustParse(source).Bind(saved)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				m.Select(hosts)
			}
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/20000hosts")
		})
	}
}

// BenchmarkFold writes 20,000 names in bracket form.
func BenchmarkFold(b *testing.B) {
	regular, scattered := NodeSet{}, NodeSet{}
	for i, h := range bigFleet() {
		regular.Add(fmt.Sprintf("rack%d-web%02d", i/40, i%40))
		if i%3 == 0 || i%7 == 0 {
			scattered.Add(h.Name)
		}
	}
	for name, set := range map[string]NodeSet{"regular": regular, "scattered": scattered} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_ = set.String()
			}
		})
	}
}
