package client

import (
	"context"
	"strconv"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// Groups are the job groups: jobs that fire one after the other, from one node.
type Groups struct{ c *conn }

func groupPath(k job.Key) []string { return []string{"namespaces", k.Namespace, "groups", k.Name} }

// List returns the groups of a namespace; of all when that is empty.
func (g Groups) List(ctx context.Context, namespace string) ([]api.Group, error) {
	var out struct{ Groups []api.Group }
	err := g.c.get(ctx, &out, where("namespace", namespace), "groups")
	return out.Groups, err
}

// Get returns one group.
func (g Groups) Get(ctx context.Context, k job.Key) (api.Group, error) {
	var out api.Group
	err := g.c.get(ctx, &out, nil, groupPath(k)...)
	return out, err
}

// Delete deletes a group without jobs.
func (g Groups) Delete(ctx context.Context, k job.Key) error {
	return g.c.remove(ctx, groupPath(k)...)
}

// Calendars say on which days jobs run.
type Calendars struct{ c *conn }

// List returns the calendars of a namespace; of all when that is empty.
func (l Calendars) List(ctx context.Context, namespace string) ([]job.Calendar, error) {
	var out struct{ Calendars []job.Calendar }
	err := l.c.get(ctx, &out, where("namespace", namespace), "calendars")
	return out.Calendars, err
}

// Delete deletes a calendar that no job names.
func (l Calendars) Delete(ctx context.Context, k job.Key) error {
	return l.c.remove(ctx, "namespaces", k.Namespace, "calendars", k.Name)
}

// Defaults are what the jobs of a namespace get that do not say it themselves. They are
// made with Jobs.Apply.
type Defaults struct{ c *conn }

// List returns the defaults of a namespace; of all when that is empty.
func (d Defaults) List(ctx context.Context, namespace string) ([]job.Defaults, error) {
	var out struct{ Defaults []job.Defaults }
	err := d.c.get(ctx, &out, where("namespace", namespace), "defaults")
	return out.Defaults, err
}

// Delete deletes the defaults of a namespace. Jobs keep what they have of them.
func (d Defaults) Delete(ctx context.Context, k job.Key) error {
	return d.c.remove(ctx, "namespaces", k.Namespace, "defaults", k.Name)
}

// Scripts are the cluster's library of scripts.
type Scripts struct{ c *conn }

// List returns the newest version of each script of a namespace; of all when that is
// empty.
func (s Scripts) List(ctx context.Context, namespace string) ([]job.SavedScript, error) {
	var out struct{ Scripts []job.SavedScript }
	err := s.c.get(ctx, &out, where("namespace", namespace), "scripts")
	return out.Scripts, err
}

// Get returns a script with its versions and the jobs that name it. Version 0 is the
// newest.
func (s Scripts) Get(ctx context.Context, ref job.ScriptRef) (api.ScriptDetail, error) {
	var out api.ScriptDetail
	version := ""
	if ref.Version != 0 {
		version = strconv.Itoa(ref.Version)
	}
	err := s.c.get(ctx, &out, where("version", version), "namespaces", ref.Key.Namespace, "scripts", ref.Key.Name)
	return out, err
}

// Delete deletes a script that no job names.
func (s Scripts) Delete(ctx context.Context, k job.Key) error {
	return s.c.remove(ctx, "namespaces", k.Namespace, "scripts", k.Name)
}

// HostGroups are saved groups of hosts.
type HostGroups struct{ c *conn }

// List returns all of them.
func (h HostGroups) List(ctx context.Context) ([]job.HostGroup, error) {
	var out struct {
		HostGroups []job.HostGroup `json:"hostGroups"`
	}
	err := h.c.get(ctx, &out, nil, "host-groups")
	return out.HostGroups, err
}

// Delete deletes one.
func (h HostGroups) Delete(ctx context.Context, name string) error {
	return h.c.remove(ctx, "host-groups", name)
}
