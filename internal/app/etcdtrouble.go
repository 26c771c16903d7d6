package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/configs"
)

// etcdLook bounds one question to an endpoint that does not answer the client of etcd.
const etcdLook = 3 * time.Second

// etcdTrouble returns, for each endpoint, why it cannot be used: the client of etcd tries
// again and again and does not say why. Empty: nothing is found.
func etcdTrouble(ctx context.Context, reach configs.Etcd) string {
	secure, err := etcdTLS(reach)
	if err != nil {
		return err.Error()
	}
	var found []string
	for _, e := range reach.Endpoints {
		if why := endpointTrouble(ctx, e, secure); why != "" {
			found = append(found, e+": "+why)
		}
	}
	return strings.Join(found, "; ")
}

func endpointTrouble(ctx context.Context, endpoint string, secure *tls.Config) string {
	network, addr, scheme := "tcp", endpoint, "http"
	if secure != nil {
		scheme = "https"
	}
	if u, err := url.Parse(endpoint); err == nil && u.Scheme != "" && (u.Host != "" || u.Path != "") {
		addr, scheme = u.Host, u.Scheme
		if path, is := strings.CutPrefix(u.Scheme, "unix"); is { // unix, unixs
			network, addr, scheme = "unix", u.Host+u.Path, "http"+path
		}
	}
	ctx, cancel := context.WithTimeout(ctx, etcdLook)
	defer cancel()
	transport := &http.Transport{
		TLSClientConfig: secure, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, addr)
		},
	}
	host := addr
	if network == "unix" {
		host = "localhost"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+host+"/version", nil)
	if err != nil {
		return err.Error()
	}
	resp, err := transport.RoundTrip(req)
	if err == nil {
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) // what was read is enough to know it
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusBadRequest && strings.Contains(string(said), "HTTPS server") {
			return "it speaks TLS; write https:// before the address"
		}
		return ""
	}
	var unknown *tls.CertificateVerificationError
	switch {
	case errors.As(err, &unknown):
		return fmt.Sprintf("%v; give the authority that has signed etcd's certificate by --etcd-ca", err)
	case scheme == "https" && errors.As(err, new(tls.RecordHeaderError)), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "it speaks plain HTTP; write http:// before the address"
	case strings.Contains(err.Error(), "remote error: tls"):
		return fmt.Sprintf("%v; give a certificate that etcd accepts by --etcd-cert and --etcd-key", err)
	case scheme == "http" && (errors.Is(err, io.EOF) || strings.Contains(err.Error(), "malformed HTTP response")):
		return "it does not speak plain HTTP; if it speaks TLS, write https:// before the address"
	}
	return err.Error()
}

// withoutEtcd is the error of a start that etcd has not answered.
func withoutEtcd(ctx context.Context, reach configs.Etcd, err error) error {
	err = fmt.Errorf("etcd at %s: %w", strings.Join(reach.Endpoints, ", "), err)
	// The start may be over because its time is.
	if why := etcdTrouble(context.WithoutCancel(ctx), reach); why != "" {
		return fmt.Errorf("%w (%s)", err, why)
	}
	return err
}

// tellOfEtcd logs why etcd does not answer, once the time for a connection is over, until
// stop is called.
func tellOfEtcd(ctx context.Context, reach configs.Etcd, log *zap.Logger) (stop func()) {
	ctx, stop = context.WithCancel(ctx)
	go func() {
		select {
		case <-ctx.Done():
			return
		case <-time.After(reach.DialTimeout):
		}
		why := etcdTrouble(ctx, reach)
		if ctx.Err() == nil {
			log.Warn("etcd does not answer; it is tried for a minute", zap.Strings("endpoints", reach.Endpoints), zap.String("why", why))
		}
	}()
	return stop
}
