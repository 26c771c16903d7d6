package importer

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

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
@reboot /usr/local/bin/agent
`

// TestTwelveLinesForAMonth compares crontabs that are imported with Debian's cron itself,
// instant by instant: over the months in which the clocks of Berlin are put forward and
// back.
func TestTwelveLinesForAMonth(t *testing.T) {
	t.Parallel()
	const zone = "Europe/Berlin"
	loc, err := schedule.LoadZone(zone)
	if err != nil {
		t.Fatal(err)
	}
	corpus, err := os.ReadFile(filepath.Join("testdata", "crontab", "twelve", "crontab"))
	if err != nil {
		t.Fatal(err)
	}
	cron := newDebianCron(t, zone)
	for _, crontab := range []struct {
		name, text string
		month      time.Month
	}{{"forward", twelve, time.March}, {"back", twelve, time.October}, {"corpus", string(corpus), time.February}} {
		t.Run(crontab.name, func(t *testing.T) {
			t.Parallel()
			got, err := Import(Crontab, []Source{{Name: "crontab", Data: []byte(crontab.text)}}, Options{Zone: zone, User: "root", Target: "web1"})
			if err != nil || len(got.Objects) < 12 {
				t.Fatalf("%d jobs, %v\n%s", len(got.Objects), err, report(got))
			}
			from := time.Date(2027, crontab.month, 1, 0, 0, 0, 0, loc).UTC()
			to := time.Date(2027, crontab.month+1, 1, 0, 0, 0, 0, loc).UTC()
			want := cron.run(t, crontab.text, from, to)
			jobs := 0
			for i := range got.Objects {
				o := &got.Objects[i]
				text := o.Metadata.Annotations[annotationText]
				if text == "" {
					continue // a notifier
				}
				jobs++
				when, command, ok := cutSchedule(text)
				if !ok {
					t.Fatal(text)
				}
				starts := want[told(command)]
				delete(want, told(command))
				if o.Spec.OnStart {
					if len(starts) != 1 || when != reboot {
						t.Errorf("%s: cron has run it %d times", text, len(starts))
					}
					continue
				}
				set, err := schedule.ParseSet(o.Spec.Schedules, schedule.OptionsOf(o.Metadata.Key(), &o.Spec))
				if err != nil {
					t.Fatal(err)
				}
				have := set.Between(from.Add(-time.Second), to.Add(-time.Second), 100_000)
				if !slices.EqualFunc(have, starts, time.Time.Equal) {
					t.Errorf("%s: %s", text, firstDifference(have, starts))
				}
			}
			if jobs < 12 {
				t.Errorf("%d jobs", jobs)
			}
			for command := range want {
				t.Errorf("cron has run %s, and there is no job of it", command)
			}
		})
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

// debianCron is Debian's cron, with a clock of ours.
type debianCron struct{ program, clock, zone string }

func newDebianCron(t *testing.T, zone string) debianCron {
	t.Helper()
	program, err := osexec.LookPath("cron")
	if err != nil {
		program, err = osexec.LookPath("/usr/sbin/cron")
	}
	if err != nil {
		t.Fatal("Debian's cron is not there; .ci/install installs it: ", err)
	}
	clock := filepath.Join(t.TempDir(), "clock.so")
	if out, err := osexec.Command("gcc", "-shared", "-fPIC", "-O1", "-o", clock, filepath.Join("testdata", "debiancron", "clock.c"), "-ldl").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return debianCron{program, clock, zone}
}

// run has cron work through a crontab of root, and returns when it would have run what, to
// the minute.
func (c debianCron) run(t *testing.T, crontab string, from, to time.Time) map[string][]time.Time {
	t.Helper()
	root := t.TempDir()
	spool := filepath.Join(root, "var", "spool", "cron", "crontabs")
	for _, dir := range []string{spool, filepath.Join(root, "etc", "cron.d"), filepath.Join(root, "var", "run"), filepath.Join(root, "run")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(spool, "root"), []byte(crontab), 0o600); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(root, "log")
	cmd := osexec.Command(c.program, "-f")
	cmd.Env = []string{
		"TZ=" + c.zone, "LD_PRELOAD=" + c.clock, "CRON_ROOT=" + root, "CRON_LOG=" + log,
		fmt.Sprintf("CRON_FROM=%d", from.Add(-time.Minute).Unix()), fmt.Sprintf("CRON_TO=%d", to.Unix()),
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	started := map[string][]time.Time{}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		second, rest, _ := strings.Cut(lines.Text(), " ")
		command, ok := strings.CutPrefix(rest, "(root) CMD (")
		if !ok {
			continue
		}
		at, err := strconv.ParseInt(second, 10, 64)
		if err != nil {
			t.Fatal(lines.Text())
		}
		command = told(strings.TrimSuffix(command, ")"))
		started[command] = append(started[command], time.Unix(at-at%60, 0).UTC())
	}
	return started
}

// told is what tells a command from the others: without what follows a percent sign, which
// cron, with this clock, cuts off when it has run the command once.
func told(command string) string {
	if i := strings.IndexAny(command, `%\`); i >= 0 {
		command = command[:i]
	}
	return strings.TrimSpace(command)
}
