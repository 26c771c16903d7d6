package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/carillon-cron/carillon/agentpush/agenttest"
	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/job"
)

// crowdArgument makes this program run minions that exist in memory only, in a
// process of their own.
const crowdArgument = "crowd"

// crowdPrefix begins the ids of a crowd's minions. No part but the one that the
// crowd is for looks at them.
const crowdPrefix = "crowd"

func crowdID(i int) job.MinionID { return job.MinionID(fmt.Sprintf("%s%03d", crowdPrefix, i+1)) }

func inCrowd(m job.MinionID) bool { return strings.HasPrefix(string(m), crowdPrefix) }

// runCrowd runs a crowd until it is told to end. Its arguments are a directory
// for credentials, the nodes' addresses, and how many minions there are; the
// join token is in the environment. A minion leaves its mark and has succeeded.
func runCrowd(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("want DIR SERVERS COUNT, got %q", args)
	}
	count, err := strconv.Atoi(args[2])
	if err != nil {
		return fmt.Errorf("how many minions: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	servers := strings.Split(args[1], ",")
	dials := make([]func() (*grpc.ClientConn, error), count)
	for i := range dials {
		creds, err := auth.Open(auth.CredentialsConfig{
			Dir: filepath.Join(args[0], string(crowdID(i))), ID: crowdID(i), Servers: servers, Token: os.Getenv(tokenVariable),
		}, auth.CredentialsDeps{})
		if err != nil {
			return err
		}
		if err := creds.Join(ctx); err != nil {
			return fmt.Errorf("minion %s: %w", crowdID(i), err)
		}
		conf, err := creds.TLS()
		if err != nil {
			return err
		}
		dials[i] = agenttest.Dialer(servers[i%len(servers)], grpc.WithTransportCredentials(credentials.NewTLS(conf)))
	}
	return agenttest.NewSwarm(count, func(i int) agenttest.Config {
		return agenttest.Config{
			ID: crowdID(i), Version: "fault", Dial: dials[i], Reconnect: 200 * time.Millisecond, ReconnectMax: 10 * time.Second,
			Spool: true, Answer: answer,
		}
	}).Run(ctx)
}

// answer does what the command of a fan-out would: it leaves a mark.
func answer(o *job.Order) job.Report {
	r := job.Report{Task: o.Task, Shard: o.Shard, Known: true, State: job.StateSucceeded, StartedAt: time.Now()}
	if err := leaveMark(o); err != nil {
		r.State, r.Reason = job.StateFailed, err.Error()
	}
	r.EndedAt = time.Now()
	return r
}

func leaveMark(o *job.Order) error {
	file := filepath.Join(o.Env[marksVariable], string(o.Task.Minion))
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%v %s %d\n", o.Task.Fire, o.Task.Minion, o.Task.Attempt)
	return errors.Join(err, f.Close())
}

// gather starts a crowd and waits until all of it gets orders. The crowd leaves
// with disperse.
func (s *stage) gather(ctx context.Context, count int) (disperse func() error, err error) {
	self := filepath.Join(s.c.bin, "fault")
	token, err := s.c.api.joinToken(ctx, count)
	if err != nil {
		return nil, err
	}
	p := &process{
		name: crowdArgument, path: self, log: filepath.Join(s.c.dir, "crowd.log"), died: s.c.hosts[0].died, env: []string{tokenVariable + "=" + token},
		args: []string{crowdArgument, filepath.Join(s.c.dir, "crowd"), strings.Join(s.c.peers[:schedulerCount], ","), strconv.Itoa(count)},
	}
	if err := p.start(); err != nil {
		return nil, err
	}
	disperse = func() error {
		_, err := p.stop(syscall.SIGTERM)
		return err
	}
	err = until(ctx, func() error {
		for _, node := range s.c.api.nodes { // each may be the one that chooses
			minions, err := (&apiClient{nodes: []string{node}, http: s.c.api.http}).minions(ctx)
			if err != nil {
				return err
			}
			here := 0
			for _, m := range minions {
				if inCrowd(m.ID) && m.State == "connected" && m.Trouble == "" {
					here++
				}
			}
			if here < count {
				return fmt.Errorf("%d of %d are connected", here, count)
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, disperse())
	}
	return disperse, nil
}
