package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/internal/control"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// every is when each job of the workload is due.
const every = "@every 1s"

// manifest returns the files of n jobs that append their fire id to the trace,
// by one write. A file is small enough to be applied as a whole.
func manifest(n int, trace string, enabled bool) [][]byte {
	const perFile = 50
	var files [][]byte
	for from := 0; from < n; from += perFile {
		var file bytes.Buffer
		enc := json.NewEncoder(&file)
		for i := from; i < min(from+perFile, n); i++ {
			file.WriteString("---\n")
			// A buffer does not fail, and all of this can be written as JSON.
			_ = enc.Encode(map[string]any{
				"apiVersion": job.APIVersion, "kind": job.KindJob,
				"metadata": map[string]any{"namespace": "fault", "name": fmt.Sprintf("job-%04d", i)},
				"spec": map[string]any{
					"schedules": []string{every}, "enabled": enabled, "overlap": job.OverlapAllow,
					"command": []string{"/bin/sh", "-c", `echo "$CARILLON_FIRE_ID" >>"$TRACE"`},
					"env":     map[string]string{"TRACE": trace},
					"timeout": time.Minute.String(),
				},
			})
		}
		files = append(files, file.Bytes())
	}
	return files
}

// plan is what the oracle knows of a job: from when on it is due, and when.
type plan struct {
	key   job.Key
	after time.Time
	set   schedule.Set
}

func plans(jobs []control.JobView) (map[job.UID]plan, error) {
	out := make(map[job.UID]plan, len(jobs))
	for i := range jobs {
		j := &jobs[i]
		set, err := schedule.ParseSet(j.Spec.Schedules, schedule.Options{Zone: j.Spec.TimeZone, Seed: j.UID.String()})
		if err != nil {
			return nil, fmt.Errorf("schedule of %v: %w", j.Key(), err)
		}
		out[j.UID] = plan{key: j.Key(), after: j.After, set: set}
	}
	return out, nil
}
