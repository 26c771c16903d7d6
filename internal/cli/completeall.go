package cli

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// completedRuns is how many of the latest runs are completed.
const completedRuns = 50

// completeStored returns what completes the names of a kind that files hold.
func (ca *call) completeStored(kind string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return ca.complete(cmd, func(ctx context.Context, c *client.Client) ([]cobra.Completion, error) {
			asked := *ca
			asked.client = c
			all, err := manifestVerbs{&asked}.stored(ctx, kind, ca.namespace)
			var names []cobra.Completion
			for i := range all {
				if name := all[i].Metadata.Name; !slices.Contains(args, name) {
					names = append(names, name)
				}
			}
			return names, err
		})
	}
}

// completeRuns completes the ids of the latest runs, with their jobs and states.
func (ca *call) completeRuns(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return ca.complete(cmd, func(ctx context.Context, c *client.Client) ([]cobra.Completion, error) {
		page, err := c.Runs.List(ctx, api.RunQuery{Namespace: ca.namespace, Limit: completedRuns})
		var names []cobra.Completion
		for i := range page.Runs {
			if r := &page.Runs[i]; !slices.Contains(args, string(r.RunID)) {
				names = append(names, cobra.CompletionWithDesc(string(r.RunID), r.Job+" "+string(r.State)+" "+ca.relative(r.ScheduledAt)))
			}
		}
		return names, err
	})
}

// completeRunsOfJobs completes jobs, which stand for their latest runs, and runs.
func (ca *call) completeJobsAndRuns(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	jobs, directive := ca.completeJobs(cmd, args, begun)
	runs, _ := ca.completeRuns(cmd, args, begun)
	return append(jobs, runs...), directive
}

// completeNamespaces completes the namespaces that have jobs.
func (ca *call) completeNamespaces(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return ca.complete(cmd, func(ctx context.Context, c *client.Client) ([]cobra.Completion, error) {
		jobs, err := c.Jobs.List(ctx, api.JobQuery{})
		found := map[string]bool{job.DefaultNamespace: true}
		for i := range jobs {
			found[jobs[i].Namespace] = true
		}
		return sortedKeys(found), err
	})
}

func (ca *call) completeLocks(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return ca.complete(cmd, func(ctx context.Context, c *client.Client) ([]cobra.Completion, error) {
		locks, err := c.Locks.List(ctx, ca.namespace)
		var names []cobra.Completion
		for i := range locks {
			names = append(names, locks[i].Name)
		}
		return names, err
	})
}

// completeNames has each verb complete the names that it takes, unless it does already.
func (a *app) completeNames(root *cobra.Command) {
	for _, verb := range root.Commands() {
		switch verb.Name() {
		case "get", "describe", "delete":
			for _, c := range verb.Commands() {
				a.completeNoun(c)
			}
		case "cancel", "redo":
			verb.ValidArgsFunction = a.completeRuns
		case "logs":
			verb.ValidArgsFunction = a.completeJobsAndRuns
		case "queue":
			for _, c := range verb.Commands() {
				if c.ValidArgsFunction == nil {
					c.ValidArgsFunction = a.completeStored(job.KindQueue)
				}
			}
		case "notify":
			for _, c := range verb.Commands() {
				if c.ValidArgsFunction == nil && c.Name() != "preview" {
					c.ValidArgsFunction = a.completeStored(job.KindNotifier)
				}
			}
		case "secret":
			for _, c := range verb.Commands() {
				switch c.Name() {
				case "show", "rotate", "reseal":
					c.ValidArgsFunction = a.completeStored(job.KindSecret)
				}
			}
		case "minions":
			for _, c := range verb.Commands() {
				switch c.Name() {
				case "label", "revoke", "reset", "approve":
					c.ValidArgsFunction = a.completeMinions
				}
			}
		case "pause", "resume":
			for _, c := range verb.Commands() {
				switch c.Name() {
				case "namespace":
					c.ValidArgsFunction = a.completeNamespaces
				case "run":
					c.ValidArgsFunction = a.completeRuns
				}
			}
		}
	}
	_ = root.RegisterFlagCompletionFunc("namespace", a.completeNamespaces)
	_ = root.RegisterFlagCompletionFunc("context", contextVerbs{a.call}.completeContexts)
}

// completeNoun has a noun behind get, describe or delete complete its names.
func (a *app) completeNoun(c *cobra.Command) {
	if c.ValidArgsFunction != nil {
		return
	}
	words := append([]string{c.Name()}, c.Aliases...)
	for _, kind := range manifest.Kinds() {
		if slices.Contains(words, kindWords(kind)[0]) {
			c.ValidArgsFunction = a.completeStored(kind)
			return
		}
	}
	switch c.Name() {
	case "runs", "run":
		c.ValidArgsFunction = a.completeRuns
	case "lock":
		c.ValidArgsFunction = a.completeLocks
	}
}
