package scheduler

import (
	"testing"
	"time"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// What earlier releases took, and apply now refuses, is still loaded and planned from
// what is stored: only new files are refused.
func TestStoredJobsStillLoad(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spec string
		due  string
	}{
		"a zone before @every":   {`{"schedules":["CRON_TZ=Europe/Rome @every 24h"],"command":["x"]}`, "2027-01-02T00:00:00Z"},
		"a zone before @at":      {`{"schedules":["TZ=Asia/Tokyo @at 2027-03-27T09:00:00Z"],"command":["x"]}`, "2027-03-27T09:00:00Z"},
		"a zone of @every":       {`{"schedules":["@every 24h"],"timeZone":"Europe/Rome","dst":{"gap":"shift"},"dialect":"quartz","command":["x"]}`, "2027-01-02T00:00:00Z"},
		"a step that is too far": {`{"schedules":["*/90 * * * *"],"command":["x"]}`, "2027-01-01T01:00:00Z"},
		"zeros":                  {`{"schedules":["@daily"],"timeout":"0s","count":0,"catchUp":"0s","retry":{"attempts":0,"backoff":"5s"},"overlapLimit":5,"command":["{{h}}"]}`, "2027-01-02T00:00:00Z"},
		"a line as a program":    {`{"schedules":["@daily"],"command":["hostname && whoami"]}`, "2027-01-02T00:00:00Z"},
	} {
		const head = `{"namespace":"default","name":"x","uid":"019337a5-0000-7000-8000-000000000001","after":"2026-12-31T00:00:00Z","spec":`
		e, _, err := newEntry("j", []byte(head+c.spec+"}"), schedule.NewCache())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if due := time.Unix(0, e.Next(time.Date(2027, 1, 1, 0, 0, 0, 1, time.UTC).UnixNano())).UTC().Format(time.RFC3339); due != c.due {
			t.Errorf("%s: due at %s, want %s", name, due, c.due)
		}
		spec, err := e.read()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if spec.EffectiveTimeout() != job.DefaultTimeout {
			t.Errorf("%s: a stored zero is no default any more", name)
		}
	}
}
