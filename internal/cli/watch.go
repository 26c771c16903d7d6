package cli

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
)

// watched is what of a list has been printed already, by name.
type watched struct {
	seen map[string]string
	head bool
	// widths are those of the columns, so that later rows stand below the first ones.
	widths []int
}

// watchedTopics are the topics under which what a verb lists changes. Of other things any
// topic has them looked at again.
func watchedTopics(noun string) []api.Topic {
	switch noun {
	case "jobs":
		return []api.Topic{api.TopicJobs, api.TopicRuns, api.TopicGroups}
	case "runs":
		return []api.Topic{api.TopicRuns}
	case "groups", "shards":
		return []api.Topic{api.TopicGroups, api.TopicShards}
	case "nodes":
		return []api.Topic{api.TopicNodes, api.TopicShards, api.TopicMinions}
	case "minions":
		return []api.Topic{api.TopicMinions, api.TopicRuns}
	case "queues":
		return []api.Topic{api.TopicQueues}
	}
	return nil
}

// addListFlags adds the flags of verbs that list, and has run be watched.
func (a *app) addListFlags(cmd *cobra.Command) {
	var watch bool
	cmd.Flags().StringVar(&a.sortBy, "sort-by", "", "sort by this `FIELD` as -o json names it, as in nextAt or spec.timeout; -FIELD turns the order around")
	cmd.Flags().BoolVar(&a.noHeaders, "no-headers", false, "print tables without the line of titles")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "go on, and print what changes, until interrupted")
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !watch {
			return run(cmd, args)
		}
		return a.watch(cmd.Context(), watchedTopics(cmd.Name()), func() error { return run(cmd, args) })
	}
}

// watch calls list, and again whenever something has changed under one of the topics,
// until ctx ends. It prints what is not as it was. A server that goes away is waited for.
func (a *app) watch(ctx context.Context, topics []api.Topic, list func() error) error {
	a.watching = &watched{seen: map[string]string{}}
	again := make(chan struct{}, 1)
	look := func() {
		select {
		case again <- struct{}{}:
		default: // a look is to come in any case
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	streamed, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		streamed <- a.changes(ctx, look, func(topic api.Topic) {
			if len(topics) == 0 || slices.Contains(topics, topic) {
				look()
			}
		})
	}()
	defer func() { cancel(); <-ended }()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-streamed:
			return err
		case <-again:
		}
		if err := list(); err != nil && !lostServer(err) {
			return err
		}
	}
}

// changes reads the stream of changes, again and again, until ctx ends or the server
// refuses it.
func (a *app) changes(ctx context.Context, begun func(), fn func(api.Topic)) error {
	for first := true; ; first = false {
		err := a.client.Cluster.Changes(ctx, begun, fn)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case !lostServer(err):
			return err
		case first && !errors.Is(err, client.ErrEnded):
			return err // it has never answered
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(a.again):
		}
	}
}

// lostServer reports whether a server may answer again without anything being changed.
func lostServer(err error) bool { return exitCode(err) == exitUnavailable }

// unseen returns what of a list is not as it was printed before, and what is gone.
func unseen[T any](w *watched, items []T, name func(T) string) (changed []T, gone []string, err error) {
	now := map[string]string{}
	for _, item := range items {
		text, err := json.Marshal(item)
		if err != nil {
			return nil, nil, err
		}
		n := name(item)
		now[n] = string(text)
		if w.seen[n] != now[n] {
			changed = append(changed, item)
		}
	}
	for _, n := range sortedKeys(w.seen) {
		if _, still := now[n]; !still {
			gone = append(gone, n)
		}
	}
	w.seen = now
	return changed, gone, nil
}
