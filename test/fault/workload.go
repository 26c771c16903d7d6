package main

import (
	"bytes"
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// every is when each job of the workload is due, and relieved when it is due once an
// overload is over.
const (
	every    = "@every 1s"
	relieved = "@every 10s"
)

// workload is what fires while the cluster is disturbed.
type workload struct {
	// groups are applied before the jobs, by name.
	groups map[string]job.GroupSpec
	// jobs is how many there are, dealt out evenly over the groups; without
	// groups they are in none.
	jobs  int
	trace string // file
	// misfire is the jobs' policy; empty: the one that they have by themselves.
	misfire job.Misfire
	// relieved: they are due less often, which the host can carry.
	relieved bool
	// herd is how many more jobs there are, all due at herdAt, and only then.
	herd   int
	herdAt time.Time
}

// herdAfter is how long after the start the herd is due, at least.
const herdAfter = 5 * time.Second

// herdFiles returns the manifests of the herd.
func (w *workload) herdFiles() [][]byte {
	const perFile = 50
	var files [][]byte
	for from := 0; from < w.herd; from += perFile {
		var file bytes.Buffer
		for i := from; i < min(from+perFile, w.herd); i++ {
			document(&file, job.KindJob, fmt.Sprintf("herd-%05d", i), map[string]any{
				"schedules": []string{"@at " + w.herdAt.UTC().Format(time.RFC3339)},
				"command":   []string{"/bin/sh", "-c", traceLine},
				"env":       map[string]string{"TRACE": w.trace},
				"timeout":   (10 * time.Minute).String(),
			})
		}
		files = append(files, file.Bytes())
	}
	return files
}

// groupOf returns the name of the group of job i; empty: none.
func (w *workload) groupOf(i int) string {
	if len(w.groups) == 0 {
		return ""
	}
	return groupNames(w.groups)[i%len(w.groups)]
}

// files returns the manifests. A file is small enough to be applied as a whole.
func (w *workload) files(enabled bool) [][]byte {
	const perFile = 50
	var files [][]byte
	var groups bytes.Buffer
	for _, name := range groupNames(w.groups) {
		document(&groups, job.KindGroup, name, w.groups[name])
	}
	if groups.Len() > 0 {
		files = append(files, groups.Bytes())
	}
	due := every
	if w.relieved {
		due = relieved
	}
	for from := 0; from < w.jobs; from += perFile {
		var file bytes.Buffer
		for i := from; i < min(from+perFile, w.jobs); i++ {
			spec := map[string]any{
				"schedules": []string{due}, "enabled": enabled, "overlap": job.OverlapAllow,
				"command": []string{"/bin/sh", "-c", traceLine},
				"env":     map[string]string{"TRACE": w.trace},
				"timeout": time.Minute.String(),
			}
			if w.misfire != "" {
				spec["misfire"] = w.misfire
			}
			if g := w.groupOf(i); g != "" {
				spec["group"] = g
			}
			document(&file, job.KindJob, fmt.Sprintf("job-%04d", i), spec)
		}
		files = append(files, file.Bytes())
	}
	return files
}

// document writes a document of a manifest, in the namespace of the workload.
func document(to *bytes.Buffer, kind, name string, spec any) {
	documentIn(to, "fault", kind, name, spec)
}
