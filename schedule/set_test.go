package schedule

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/robfig/cron/v3"

	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
)

func TestSet(t *testing.T) {
	t.Parallel()
	set, err := ParseSet([]string{"0 * * * *", "30 * * * *", "0 */2 * * *"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	from := instant(t, "2026-01-01T00:00:00Z")
	clock := func(limit int) []string {
		var out []string
		for _, at := range set.Between(from, from.Add(2*time.Hour), limit) {
			out = append(out, at.Format("15:04"))
		}
		return out
	}
	if d := cmp.Diff([]string{"00:30", "01:00", "01:30", "02:00"}, clock(10)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"00:30", "01:00"}, clock(2)); d != "" {
		t.Error(d)
	}
	if got := clock(0); got != nil {
		t.Errorf("Between with limit 0: %v", got)
	}
	if d := cmp.Diff([]string{"every hour", "at minute 30 of every hour", "every 2 hours"}, set.Words()); d != "" {
		t.Error(d)
	}
	if _, ok := (Set{}).Next(from); ok {
		t.Error("the empty set is due")
	}
	if s, err := ParseSet(nil, Options{}); len(s) != 0 || err != nil {
		t.Errorf("no schedules: %v %v", s, err)
	}
}

// TestNth: the n-th instant of several schedules is that after n steps of all, and
// none where they come to their end before.
func TestNth(t *testing.T) {
	t.Parallel()
	from := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	set, err := ParseSet([]string{"@at 2027-01-01T00:10:00Z", "@at 2027-01-01T00:20:00Z", "@at 2027-01-01T00:10:00Z"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range []time.Duration{1: 10 * time.Minute, 2: 20 * time.Minute} {
		if at, ok := set.Nth(n, from); n > 0 && (!ok || at.Sub(from) != want) {
			t.Errorf("number %d: %v, %v", n, at, ok)
		}
	}
	if at, ok := set.Nth(3, from); ok {
		t.Errorf("there is no third one, and it is %v", at)
	}
}

func TestParseSetNamesAllProblems(t *testing.T) {
	t.Parallel()
	_, err := ParseSet([]string{"* * * * *", "bad", "@every 1ms"}, Options{})
	want := `schedules[1]: "bad": has 1 field; give ` + grammars[job.DialectCarillon].examples() + "\n" +
		`schedules[2]: "@every 1ms": @every "1ms": out of range; 100ms to 8784h (366 days) are allowed`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %v", err, want)
	}
}

func TestCacheSharesSchedules(t *testing.T) {
	t.Parallel()
	c := NewCache()
	const expressions, workers, jobs = 50, 4, 2000
	sets := make([][]Set, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for j := range jobs {
				set, err := c.ParseSet([]string{fmt.Sprintf("%d * * * *", j%expressions)}, Options{Zone: "Europe/Berlin"})
				if err != nil {
					t.Error(err)
					return
				}
				sets[w] = append(sets[w], set)
			}
		})
	}
	wg.Wait()
	different := map[*Schedule]bool{}
	for _, s := range sets {
		for _, set := range s {
			different[set[0]] = true
		}
	}
	if len(different) != expressions || c.Len() != expressions {
		t.Errorf("%d schedules in use and %d in the cache, want %d", len(different), c.Len(), expressions)
	}
	if a, b := cached(t, c, "UTC"), cached(t, c, ""); a == b {
		t.Error("zones share a schedule")
	}
	if _, err := c.Parse("bad", Options{}); err == nil {
		t.Error("the cache takes a bad expression")
	}
}

func cached(t *testing.T, c *Cache, zone string) *Schedule {
	t.Helper()
	s, err := c.Parse("* * * * *", Options{Zone: zone})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestCacheForgets: what nobody uses any more is dropped, so that jobs that
// run once do not fill the memory.
func TestCacheForgets(t *testing.T) {
	t.Parallel()
	c := NewCache()
	kept := cached(t, c, "")
	for i := range 1000 {
		if _, err := c.Parse(fmt.Sprintf("@at 2030-01-01T00:00:00.%03dZ", i), Options{}); err != nil {
			t.Fatal(err)
		}
	}
	await.Missing(t, func() string {
		runtime.GC()
		if n := c.Len(); n > 1 {
			return fmt.Sprintf("the cache has %d schedules, want the one in use", n)
		}
		return ""
	})
	if c.Len() != 1 || cached(t, c, "") != kept {
		t.Errorf("the cache has %d schedules, want the one in use", c.Len())
	}
	runtime.KeepAlive(kept)
}

func TestScheduleIsSmallAndNextAllocatesNothing(t *testing.T) {
	if n := unsafe.Sizeof(Schedule{}); n > 80 {
		t.Errorf("a schedule has %d bytes", n)
	}
	at := instant(t, "2026-03-28T12:00:00Z")
	for _, expr := range []string{"*/5 * * * *", "30 2 * * *", "0 0 29 2 *", "@every 10s"} {
		s := parsed(t, expr, "Europe/Berlin")
		if n := testing.AllocsPerRun(100, func() { s.Next(at) }); n != 0 {
			t.Errorf("%s: Next allocates %v times", expr, n)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	at := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct{ expr, zone string }{
		{"* * * * *", "UTC"}, {"30 2 * * MON-FRI", "UTC"}, {"0 0 1 1 *", "UTC"}, {"0 0 29 2 *", "UTC"},
		{"*/5 * * * *", "Europe/Berlin"}, {"30 2 * * MON-FRI", "Europe/Berlin"}, {"0 0 1 1 *", "Europe/Berlin"},
	} {
		name := c.expr + " " + c.zone
		s := parsed(b, c.expr, c.zone)
		other, err := cron.ParseStandard("CRON_TZ=" + c.zone + " " + c.expr)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name+"/carillon", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Next(at)
			}
		})
		b.Run(name+"/robfig", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				other.Next(at)
			}
		})
	}
}

func BenchmarkCacheParse(b *testing.B) {
	c := NewCache()
	s, err := c.Parse("30 2 * * MON-FRI", Options{Zone: "Europe/Berlin"})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		_, _ = c.Parse("30 2 * * MON-FRI", Options{Zone: "Europe/Berlin"})
	}
	runtime.KeepAlive(s)
}
