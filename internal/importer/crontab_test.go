package importer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// twelve is a crontab as hosts have it.
const twelve = `# m h dom mon dow command
*/5 * * * * /usr/local/bin/poll
17 * * * * cd / && run-parts --report /etc/cron.hourly
25 6 * * * /usr/sbin/logrotate /etc/logrotate.conf
30 2 * * * /usr/local/bin/backup.sh --full
0 3 1 * * /usr/local/bin/report monthly
15 8-18/2 * * MON-FRI /srv/app/sync
0 0 13 * 5 /usr/local/bin/friday-or-13th
0 12 */2 * mon /usr/local/bin/odd-mondays
*/20 2 * * * /usr/local/bin/night
30 1,2,3 * * sun /usr/local/bin/weekly
@daily /usr/local/bin/midnight
0 0 * * 7 /usr/local/bin/sunday
`

// cronLine is a line of a crontab as Debian's cron keeps it.
type cronLine struct {
	minute, hour, dom, month, dow [60]bool
	domStar, dowStar, wild        bool
}

// debianLine reads five fields straightforwardly.
func debianLine(t *testing.T, when string) cronLine {
	t.Helper()
	if when == "@daily" {
		when = "0 0 * * *"
	}
	var l cronLine
	f := strings.Fields(when)
	names := strings.Fields("sun mon tue wed thu fri sat")
	for i, set := range []*[60]bool{&l.minute, &l.hour, &l.dom, &l.month, &l.dow} {
		low, high := []int{0, 0, 1, 1, 0}[i], []int{59, 23, 31, 12, 7}[i]
		for token := range strings.SplitSeq(strings.ToLower(f[i]), ",") {
			body, stepText, _ := strings.Cut(token, "/")
			step := 1
			if stepText != "" {
				step, _ = strconv.Atoi(stepText)
			}
			number := func(s string) int {
				if n, err := strconv.Atoi(s); err == nil {
					return n
				}
				return slices.Index(names, s)
			}
			from, to := low, high
			if body != "*" {
				first, last, isRange := strings.Cut(body, "-")
				from = number(first)
				to = from
				if isRange {
					to = number(last)
				}
			}
			for v := from; v <= to; v += step {
				set[v] = true
			}
		}
	}
	if l.dow[0] || l.dow[7] {
		l.dow[0], l.dow[7] = true, true
	}
	l.domStar, l.dowStar = f[2][0] == '*', f[4][0] == '*'
	l.wild = f[0][0] == '*' || f[1][0] == '*'
	return l
}

// matches reports whether a line is due at a minute of the wall clock.
func (l *cronLine) matches(wall int64) bool {
	t := time.Unix(wall*60, 0).UTC()
	if !l.minute[t.Minute()] || !l.hour[t.Hour()] || !l.month[t.Month()] {
		return false
	}
	dom, dow := l.dom[t.Day()], l.dow[t.Weekday()]
	if l.domStar || l.dowStar {
		return dom && dow
	}
	return dom || dow
}

// debian is the main loop of Debian's cron, once a minute from one instant to before
// another: what it does when the clock jumps by less than three hours included. It
// returns when each line is started.
func debian(lines []cronLine, from, to time.Time, loc *time.Location) [][]time.Time {
	wallOf := func(t time.Time) int64 {
		_, offset := t.In(loc).Zone()
		return (t.Unix() + int64(offset)) / 60
	}
	started := make([][]time.Time, len(lines))
	virtual := wallOf(from) - 1
	for now := from; now.Before(to); now = now.Add(time.Minute) {
		find := func(wall int64, doWild, doFixed bool) {
			for i := range lines {
				if (lines[i].wild && doWild || !lines[i].wild && doFixed) && lines[i].matches(wall) && (len(started[i]) == 0 || !started[i][len(started[i])-1].Equal(now)) {
					started[i] = append(started[i], now)
				}
			}
		}
		running := wallOf(now)
		switch diff := running - virtual; {
		case diff == 1:
			virtual = running
			find(virtual, true, true)
		case diff > 1: // the clock was put forward: what would be skipped is run now
			find(running, true, false)
			for virtual < running {
				virtual++
				find(virtual, false, true)
			}
		default: // it was put back: what is due at fixed times has been run
			find(running, true, false)
		}
	}
	return started
}

// TestTwelveLinesForAMonth compares a crontab that is imported with a model of Debian's
// cron, instant by instant: over the months in which the clocks of Berlin are put forward
// and back, and one without either.
func TestTwelveLinesForAMonth(t *testing.T) {
	t.Parallel()
	const zone = "Europe/Berlin"
	loc, err := schedule.LoadZone(zone)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Import(Crontab, []Source{{Name: "crontab", Data: []byte(twelve)}}, Options{Zone: zone, User: "root", Target: "web1"})
	if err != nil || len(got.Objects) != 12 {
		t.Fatalf("%d jobs, %v\n%s", len(got.Objects), err, report(got))
	}
	var lines []cronLine
	var whens []string
	for line := range strings.SplitSeq(strings.TrimSpace(twelve), "\n") {
		if line[0] == '#' {
			continue
		}
		when, _, ok := cutSchedule(line)
		if !ok {
			t.Fatal(line)
		}
		whens = append(whens, when)
		lines = append(lines, debianLine(t, when))
	}
	for _, month := range []time.Month{time.February, time.March, time.October} {
		from := time.Date(2027, month, 1, 0, 0, 0, 0, loc).UTC()
		to := time.Date(2027, month+1, 1, 0, 0, 0, 0, loc).UTC()
		want := debian(lines, from, to, loc)
		for i := range got.Objects {
			o := &got.Objects[i]
			set, err := schedule.ParseSet(o.Spec.Schedules, schedule.OptionsOf(o.Metadata.Key(), &o.Spec))
			if err != nil {
				t.Fatal(err)
			}
			have := set.Between(from.Add(-time.Second), to.Add(-time.Second), 100_000)
			if len(have) == 0 && len(want[i]) == 0 {
				t.Errorf("%s: nothing in %s", whens[i], month)
			}
			if !slices.EqualFunc(have, want[i], time.Time.Equal) {
				t.Errorf("%s in %s: %s", whens[i], month, firstDifference(have, want[i]))
			}
		}
	}
}

func firstDifference(have, want []time.Time) string {
	for i := range max(len(have), len(want)) {
		switch {
		case i >= len(have):
			return fmt.Sprintf("ends before %s", want[i])
		case i >= len(want):
			return fmt.Sprintf("goes on with %s", have[i])
		case !have[i].Equal(want[i]):
			return fmt.Sprintf("instant %d is %s, and of cron %s", i, have[i], want[i])
		}
	}
	return "none"
}

func TestPercent(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		`date +\%F`:    `date +%F | false []`,
		`mail a%b%c`:   `mail a | true ["b" "c"]`,
		`cat%a\%b%%c%`: `cat | true ["a%b" "" "c"]`,
		`cat%`:         `cat | true []`,
		`echo \\%x`:    `echo \\ | true ["x"]`,
		`echo "a\nb"`:  `echo "a\nb" | false []`,
		`cat%a\`:       `cat | true ["a\\"]`,
		`cat%END%ENDD`: `cat | true ["END" "ENDD"]`,
		`cat%a\\%b`:    `cat | true ["a\\%b"]`,
	} {
		command, stdin, has := cutPercent(line)
		if got := fmt.Sprintf("%s | %v %q", command, has, stdin); got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
	if end := endOf([]string{"END", "ENDD"}); end != "ENDDD" {
		t.Errorf("the word behind the text is %q", end)
	}
}

// TestCronsDefaults holds IM5.
func TestCronsDefaults(t *testing.T) {
	t.Parallel()
	got, err := Import(Crontab, []Source{{Name: "f", Data: []byte("* * * * * /bin/true\n")}}, Options{User: "root"})
	if err != nil || len(got.Objects) != 1 {
		t.Fatal(err, report(got))
	}
	s := &got.Objects[0].Spec
	if s.Overlap != job.OverlapAllow || s.Misfire != job.MisfireSkip || time.Duration(s.Timeout) != job.MaxTimeout || s.Env["PATH"].Text != "/usr/bin:/bin" || s.WorkingDir != "/root" {
		t.Errorf("IM5: %+v", s)
	}
}
