package importer

import (
	"fmt"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/job"
)

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
