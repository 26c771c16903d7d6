package etcd

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/history"
	"github.com/carillon-cron/carillon/history/historytest"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/job"
)

// BenchmarkSink writes typical records (one task, 100 bytes of output) of 1000
// jobs through a sink into etcd, collector included, as fast as it goes. It
// reports how many records per second become durable, and what they take once
// they are merged.
func BenchmarkSink(b *testing.B) { benchmarkSink(b, 0) }

// BenchmarkSinkSteady does the same with 10,000 records per second, and reports
// the processor time of sink, store, collector and etcd server together.
func BenchmarkSinkSteady(b *testing.B) { benchmarkSink(b, 10_000) }

func benchmarkSink(b *testing.B, perSecond int) {
	client := etcdtest.Start(b).Client(b)
	store := newStore(b, Deps{Client: client, Logger: zap.NewNop()}, Config{Keys: etcdkv.NewKeys("/bench")})
	sink, err := history.NewSink(history.SinkConfig{}, history.SinkDeps{Store: store, Logger: zap.NewNop()})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var running, done sync.WaitGroup
	running.Go(func() { _ = sink.Run(ctx) })
	running.Go(func() { _ = store.Run(ctx) })
	room := make(chan struct{}, 20_000) // fewer than the sink would refuse
	cpu := cpuTime()
	b.ResetTimer()
	for i := range b.N {
		if perSecond > 0 && i%(perSecond/1000) == 0 {
			due := time.Duration(i) * time.Second / time.Duration(perSecond)
			time.Sleep(due - b.Elapsed()) // the pace is what is measured
		}
		room <- struct{}{}
		done.Add(1)
		run := historytest.Run(job.Key{Namespace: "default", Name: fmt.Sprintf("job-%d", i%1000)}, i/1000)
		sink.Record(run, func(err error) {
			if err != nil {
				b.Error(err)
			}
			<-room
			done.Done()
		})
	}
	done.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric((cpuTime()-cpu).Seconds()/b.Elapsed().Seconds(), "cores")
	cancel()
	running.Wait()
	if err := store.Collect(b.Context()); err != nil {
		b.Fatal(err)
	}
	report(b, store, client)
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// report adds the size of what is stored to the benchmark's results.
func report(b *testing.B, s *Store, client *clientv3.Client) {
	b.Helper()
	resp, err := client.Get(b.Context(), s.cfg.Keys.Runs(), clientv3.WithPrefix())
	if err != nil {
		b.Fatal(err)
	}
	bytes, records := 0, 0
	for _, kv := range resp.Kvs {
		recs, err := s.codec.Decode(kv.Value)
		if err != nil {
			b.Fatal(err)
		}
		bytes += len(kv.Key) + len(kv.Value)
		records += len(recs)
	}
	b.ReportMetric(float64(bytes)/float64(records), "bytes/record")
	b.ReportMetric(float64(len(resp.Kvs)), "segments")
	b.ReportMetric(float64(records), "kept")
}

// BenchmarkPage reads the newest 50 runs of all jobs, with a warm cache.
func BenchmarkPage(b *testing.B) {
	store := newStore(b, Deps{Client: etcdtest.Start(b).Client(b), Logger: zap.NewNop()}, Config{Keys: etcdkv.NewKeys("/bench")})
	for n := range 50 {
		var runs []job.Run
		for i := range 1000 {
			runs = append(runs, historytest.Run(job.Key{Namespace: "default", Name: fmt.Sprintf("job-%d", i)}, n))
		}
		if err := store.Append(b.Context(), runs); err != nil {
			b.Fatal(err)
		}
	}
	if err := store.Collect(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for range b.N {
		if _, err := store.List(b.Context(), history.Query{Limit: 50}); err != nil {
			b.Fatal(err)
		}
	}
}
