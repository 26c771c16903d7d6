package importer

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// kubernetes reads CronJobs.
func (b *book) kubernetes(sources []Source) {
	for _, s := range sources {
		docs, err := yamlDocuments(s)
		if err != nil {
			b.leftOut(place{s.Name, 1}, "is no YAML, or a template that has to be filled in first (helm template, kubectl get cronjobs -o yaml): %v", err)
		}
		for _, doc := range docs {
			b.kubeObject(doc, 3)
		}
	}
}

// kubeObject reads an object, or a list of them.
func (b *book) kubeObject(o field, depth int) {
	kind := o.get("kind").text()
	switch {
	case !o.given():
	case o.isList(), strings.HasSuffix(kind, "List") && o.get("items").given():
		list := o
		if !o.isList() {
			list = o.get("items")
		}
		for _, item := range list.items() {
			if depth > 0 {
				b.kubeObject(item, depth-1)
			}
		}
	case kind == "CronJob":
		k := &cronJob{book: b, o: o}
		k.read()
	default:
		b.notPossible(o.at(), "kind %s: only CronJobs are read", short(orNone(kind)))
	}
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}

// cronJob is a CronJob while it is read.
type cronJob struct {
	*book

	o field
	d *draft
}

// The defaults of Kubernetes.
const (
	kubeBackoffLimit = 6
	kubeBackoff      = 10 * time.Second
	kubeMaxBackoff   = 6 * time.Minute
)

func (k *cronJob) read() {
	spec := k.o.get("spec")
	pod := spec.get("jobTemplate", "spec", "template", "spec")
	containers := pod.get("containers").items()
	name := k.o.get("metadata", "name").text()
	switch {
	case len(containers) == 0:
		k.leftOut(k.o.at(), "CronJob %s has no container", name)
		return
	case len(containers) > 1:
		k.leftOut(pod.get("containers").at(), "CronJob %s has %d containers side by side; make one command of them, or a job for each", name, len(containers))
		return
	}
	k.d = k.job(k.o.at(), name)
	if ns := k.o.get("metadata", "namespace").text(); ns != "" && job.CheckName(ns) == nil {
		k.d.meta.Namespace = ns
	}
	k.labels()
	k.schedule(spec)
	k.policies(spec)
	main, ok := k.container(containers[0], pod, true)
	if !ok {
		k.drop(k.d)
		return
	}
	k.init(pod, main)
	k.where(pod)
	k.rest(spec, pod)
}

// labels keeps those that may be.
func (k *cronJob) labels() {
	labels := k.o.get("metadata", "labels")
	for key, f := range labels.entries() {
		value := f.text()
		if job.CheckLabel(key, value) != nil {
			k.notPossible(f.at(), "label %s=%s: is none here", short(key), short(value))
			continue
		}
		if k.d.meta.Labels == nil {
			k.d.meta.Labels = map[string]string{}
		}
		k.d.meta.Labels[key] = value
	}
}

func (k *cronJob) schedule(spec field) {
	s := &k.d.spec
	s.Schedules = []string{spec.get("schedule").text()}
	s.TimeZone = k.opts.Zone
	if zone := spec.get("timeZone"); zone.given() {
		s.TimeZone = zone.text()
	}
	if s.TimeZone == "Etc/UTC" || s.TimeZone == "Etc/GMT" {
		s.TimeZone = "UTC"
	}
	one, err := schedule.Parse(s.Schedules[0], schedule.Options{Zone: s.TimeZone, Dialect: job.DialectKubernetes})
	if err != nil {
		s.Dialect = job.DialectKubernetes
		return // it is left out, and why is told then
	}
	if one.OnClock() && (!one.Named() || one.Jumps()) {
		s.Dialect = job.DialectKubernetes
	}
	if one.OnClock() && !one.OwnZone() && s.TimeZone == "" {
		k.once("zone", spec.get("schedule").at(), "no time zone is given: the schedule is read in UTC; if the zone of the cluster's controller is another, give --tz")
	}
	if !one.OnClock() {
		k.approximated(spec.get("schedule").at(), "%s: counts from 1970-01-01T00:00:00Z, and not from the run before", s.Schedules[0])
	}
	if !spec.get("suspend").truth(false) {
		return
	}
	no := false
	s.Enabled = &no
}

func (k *cronJob) policies(spec field) {
	s := &k.d.spec
	switch policy := spec.get("concurrencyPolicy"); policy.text() {
	case "", "Allow":
		s.Overlap = job.OverlapAllow
	case "Forbid":
		s.Overlap = job.OverlapSkip
	case "Replace":
		s.Overlap = job.OverlapReplace
	default:
		k.notPossible(policy.at(), "concurrencyPolicy: %s: is unknown", short(policy.text()))
	}
	if deadline := spec.get("startingDeadlineSeconds"); deadline.given() {
		n, ok := deadline.number()
		switch {
		case !ok || n < 0 || n > int64(job.MaxCatchUpWindow/time.Second):
			k.notPossible(deadline.at(), "startingDeadlineSeconds: %s: catchUp is a time of up to %s", short(deadline.text()), job.MaxCatchUpWindow)
		case n == 0:
			s.Misfire = job.MisfireSkip
		default:
			s.Misfire, s.CatchUp = job.MisfireLatest, seconds(n)
		}
	}
	s.Timeout = job.Duration(job.MaxTimeout)
	if bound := spec.get("jobTemplate", "spec", "activeDeadlineSeconds"); bound.given() {
		n, ok := bound.number()
		if ok && n > 0 && n <= int64(job.MaxTimeout/time.Second) {
			s.Timeout = seconds(n)
		}
		k.approximated(bound.at(), "activeDeadlineSeconds: %s: bounds each attempt, and not all of them together", short(bound.text()))
	}
	limit := int64(kubeBackoffLimit)
	if given := spec.get("jobTemplate", "spec", "backoffLimit"); given.given() {
		if n, ok := given.number(); ok && n >= 0 {
			limit = n
		}
	}
	if limit > 0 {
		s.Retry = job.Retry{Attempts: int(min(limit+1, job.MaxAttempts)), Backoff: job.Duration(kubeBackoff)}
		if s.Retry.Attempts > 2 {
			s.Retry.MaxBackoff = job.Duration(kubeMaxBackoff)
		}
	}
}

// kubeVariable is how a command names a variable.
var kubeVariable = regexp.MustCompile(`\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)`)

// container returns the command of a container. It is false when that is not known.
func (k *cronJob) container(c, pod field, main bool) ([]string, bool) {
	words := append(c.get("command").texts(), c.get("args").texts()...)
	if !c.get("command").given() {
		k.leftOut(c.at(), "the container %s has no command of its own, and what its image %s starts is not known: write command", c.get("name").text(), short(c.get("image").text()))
		return nil, false
	}
	k.notPossible(c.get("image").at(), "image: %s: the command runs on the minion as it is: its programs have to be there, or write [docker, run, --rm, IMAGE, ...]", short(c.get("image").text()))
	env := map[string]string{}
	for _, v := range c.get("env").items() {
		name := v.get("name").text()
		if !v.get("valueFrom").given() {
			env[name] = k.expand(v.get("value").text(), env)
			if main && job.IsParamName(name) {
				k.env(v.at(), k.d, name, env[name])
			} else if main {
				k.notPossible(v.at(), "variable %q: is not the name of one", short(name))
			}
			continue
		}
		from := v.get("valueFrom")
		what := strings.Join(from.keys(), ", ")
		k.notPossible(v.at(), "variable %s from %s: put the value on the minion, and write %s: {secret: {file: PATH}} (docs/secrets.md)", short(name), short(what), short(name))
	}
	if from := c.get("envFrom"); from.given() {
		k.notPossible(from.at(), "envFrom: write the variables out under env, and secrets as {secret: {file: PATH}}")
	}
	for i, w := range words {
		words[i] = k.expand(w, env)
	}
	if !main {
		return words, true
	}
	if dir := c.get("workingDir"); dir.given() {
		k.d.spec.WorkingDir = dir.text()
	}
	limits := c.get("resources", "limits")
	if m := limits.get("memory"); m.given() {
		var size job.Size
		if err := size.UnmarshalText([]byte(m.text())); err != nil || size < job.MinLimitMemory {
			k.notPossible(m.at(), "limits.memory: %s: write spec.limits.memory, as in 512Mi", short(m.text()))
		} else {
			k.d.spec.Limits.Memory = size
		}
	}
	if m := limits.get("cpu"); m.given() {
		var cores job.Cores
		if err := cores.UnmarshalText([]byte(m.text())); err != nil || cores < job.MinLimitCPU || cores > job.MaxLimitCPU {
			k.notPossible(m.at(), "limits.cpu: %s: write spec.limits.cpu, as in 1.5 or 250m", short(m.text()))
		} else {
			k.d.spec.Limits.CPU = cores
		}
	}
	for _, context := range []field{pod.get("securityContext"), c.get("securityContext")} {
		if uid := context.get("runAsUser"); uid.given() {
			k.d.spec.User = uid.text()
		}
	}
	for key, f := range c.entries() {
		if !slices.Contains([]string{"name", "image", "imagePullPolicy", "command", "args", "env", "envFrom", "workingDir", "resources", "securityContext", "terminationMessagePath", "terminationMessagePolicy"}, key) {
			k.notPossible(f.at(), "%s of the container: there is nothing like it here", short(key))
		}
	}
	return words, true
}

// maxExpanded bounds what values of variables may make of a text: each may have the one
// before twice.
const maxExpanded = 256 << 10

// expand puts the values of variables into a text, as Kubernetes does; those that are not
// known stay, and so do all behind which the text would be too large.
func (k *cronJob) expand(text string, env map[string]string) string {
	size := len(text)
	return kubeVariable.ReplaceAllStringFunc(text, func(m string) string {
		if m == "$$" {
			return "$"
		}
		v, ok := env[m[2:len(m)-1]]
		if size += len(v); !ok || size > maxExpanded {
			return m
		}
		return v
	})
}

// init makes steps of the containers that run before, if there are any.
func (k *cronJob) init(pod field, main []string) {
	inits := pod.get("initContainers").items()
	if len(inits) == 0 {
		k.d.spec.Command = main
		return
	}
	var steps []job.Step
	for _, c := range inits {
		words, ok := k.container(c, pod, false)
		if !ok {
			k.drop(k.d)
			return
		}
		steps = append(steps, job.Step{Name: c.get("name").text(), Command: words})
	}
	k.approximated(pod.get("initContainers").at(), "initContainers: become steps before the command, with its environment and account")
	name := pod.get("containers").items()[0].get("name").text()
	k.d.spec.Steps = append(steps, job.Step{Name: name, Command: main})
}

// where sets on which minions the job runs.
func (k *cronJob) where(pod field) {
	s := &k.d.spec
	if name := pod.get("nodeName"); name.given() {
		s.Target = job.Target{Names: []string{name.text()}}
		k.approximated(name.at(), "nodeName: %s: is the minion of that id", short(name.text()))
	}
	selector := pod.get("nodeSelector")
	for key, f := range selector.entries() {
		value := f.text()
		if job.CheckLabel(key, value) != nil {
			k.notPossible(f.at(), "nodeSelector %s=%s: is no label here", short(key), short(value))
			continue
		}
		if s.Target.Labels == nil {
			s.Target.Labels = map[string]string{}
		}
		s.Target.Labels[key] = value
		k.approximated(f.at(), "nodeSelector %s=%s: minions need that label (worker --label)", short(key), short(value))
	}
	if s.Target.IsZero() {
		k.once("target", k.o.at(), "commands run on any one minion: give --target for those that have the programs")
	}
}

// rest notes what is not carried over.
func (k *cronJob) rest(spec, pod field) {
	for _, part := range []struct {
		name  string
		f     field
		known []string
	}{
		{"spec", spec, []string{"schedule", "timeZone", "concurrencyPolicy", "suspend", "startingDeadlineSeconds", "jobTemplate"}},
		{"jobTemplate.spec", spec.get("jobTemplate", "spec"), []string{"activeDeadlineSeconds", "backoffLimit", "template"}},
		{"template.spec", pod, []string{"containers", "initContainers", "nodeName", "nodeSelector", "restartPolicy", "securityContext", "terminationGracePeriodSeconds", "dnsPolicy", "schedulerName"}},
	} {
		for key, f := range part.f.entries() {
			if slices.Contains(part.known, key) {
				continue
			}
			switch {
			case key == "parallelism" && f.text() == "1", key == "completions" && f.text() == "1":
			case key == "successfulJobsHistoryLimit", key == "failedJobsHistoryLimit", key == "ttlSecondsAfterFinished":
				k.once(key, f.at(), "%s: how long runs are kept is a setting of the nodes", key)
			default:
				k.notPossible(f.at(), "%s.%s: there is nothing like it here", part.name, short(key))
			}
		}
	}
}
