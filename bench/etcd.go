package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// etcdSpec is what an etcd server's process is told.
type etcdSpec struct{ Dir string }

// runEtcd runs an etcd server, and tells its endpoint once it serves.
func runEtcd(ctx context.Context, spec etcdSpec, _ <-chan string) error {
	if err := os.Chdir(spec.Dir); err != nil { // its socket for peers is there
		return err
	}
	cfg := embed.NewConfig()
	cfg.Dir = "data"
	client := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	peer := url.URL{Scheme: "unix", Host: "localhost:" + fmt.Sprint(os.Getpid())}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.QuotaBackendBytes = 8 << 30
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = "periodic", "1m"
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	srv, err := embed.StartEtcd(cfg)
	if err != nil {
		return err
	}
	defer srv.Close()
	select {
	case <-ctx.Done():
		return nil
	case err := <-srv.Err():
		return err
	case <-srv.Server.ReadyNotify():
	}
	if err := answer("http://" + srv.Clients[0].Addr().String()); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-srv.Err():
		return err
	}
}

// etcd is a server in a process of its own, with a client.
type etcd struct {
	*clientv3.Client
	process  *process
	endpoint string
	dir      string
}

func startEtcd(ctx context.Context, e *env) (_ *etcd, err error) {
	s := &etcd{}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.dir, err = os.MkdirTemp("", "carillon-bench-"); err != nil {
		return nil, err
	}
	if s.process, err = start(ctx, "etcd", etcdSpec{Dir: s.dir}); err != nil {
		return nil, err
	}
	if err := s.process.hear(ctx, e.patience, &s.endpoint); err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	s.Client, err = clientv3.New(clientv3.Config{
		Endpoints: []string{s.endpoint}, DialTimeout: 5 * time.Second, Logger: zap.NewNop(),
		MaxCallSendMsgSize: 16 << 20,
	})
	return s, err
}

func (s *etcd) close() {
	if s.Client != nil {
		_ = s.Close()
	}
	if s.process != nil {
		s.process.kill()
	}
	_ = os.RemoveAll(s.dir)
}

// revision returns etcd's revision: each write is one.
func (s *etcd) revision(ctx context.Context) (int64, error) {
	r, err := s.Get(ctx, "revision")
	if err != nil {
		return 0, err
	}
	return r.Header.Revision, nil
}
