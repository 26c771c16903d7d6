package app

import (
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/carillon-cron/carillon/internal/apitls"
	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/job"
)

// openFiles opens the files with the certificate of the API, if there are any.
func (n *Node) openFiles() error {
	if n.cfg.APICert == "" {
		return nil
	}
	log := n.log.Named("api")
	files, err := apitls.OpenFiles(apitls.FilesConfig{Cert: n.cfg.APICert, Key: n.cfg.APIKey}, apitls.Deps{Logger: log})
	if err != nil {
		return fmt.Errorf("--api-cert, --api-key: %w", err)
	}
	for _, host := range n.hosts() {
		if isName(host) && !files.Covers(host) {
			log.Warn("the API's certificate is not good for a name by which the API may be asked; clients that use that name refuse the node",
				zap.String("name", host), zap.Strings("certificateIsFor", files.Names()))
		}
	}
	n.apiFiles = files
	return nil
}

// openTLS decides how the API is served: by TLS, unless the settings say otherwise and only
// this host reaches it.
func (n *Node) openTLS(metrics prometheus.Registerer) error {
	deps := apitls.Deps{Logger: n.log.Named("api")}
	var source apitls.Source
	switch {
	case n.apiFiles != nil:
		source = n.apiFiles
	case !n.SpeaksTLS():
		return nil
	case n.registrar == nil:
		return fmt.Errorf("--listen %s is reachable from other hosts, and with --insecure there is no authority that makes a certificate for it; %w", n.cfg.Listen, errNoCertificate)
	default:
		own, err := apitls.NewOwn(apitls.OwnConfig{Node: job.NodeID(n.cfg.Node), Hosts: n.hosts()}, n.registrar.Authority(), deps)
		if err != nil {
			return err
		}
		deps.Logger.Info("the API has a certificate of the cluster's authority; `carillon minions authority` over the local socket prints the authority for clients",
			zap.String("caHash", auth.CAHash(n.registrar.Authority().Certificate())))
		source = own
	}
	n.apiTLS = apitls.Config(source)
	if err := metrics.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "carillon_api_certificate_expires_timestamp_seconds", Help: "When the certificate ends that the API shows, in seconds since 1970.",
	}, func() float64 { return float64(source.Expires().Unix()) })); err != nil {
		return fmt.Errorf("metrics of the API's certificate: %w", err)
	}
	return nil
}

var errNoCertificate = errors.New("give --api-cert and --api-key, or listen on 127.0.0.1")

// isName reports whether a host is one that certificates name.
func isName(host string) bool {
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host != "" && host != "localhost" && (err != nil || !ip.IsUnspecified() && !ip.IsLoopback())
}

// onLoopback reports whether only this host reaches the API.
func (n *Node) onLoopback() bool {
	at, ok := n.apiListener.Addr().(*net.TCPAddr)
	return ok && at.IP.IsLoopback()
}

// serveAPI serves the API and the page until the server ends.
func (n *Node) serveAPI() error {
	l := n.doors.api.Listen(n.apiListener)
	if n.apiTLS == nil {
		return n.httpServer.Serve(l)
	}
	return n.httpServer.ServeTLS(l, "", "")
}

// SpeaksTLS reports whether the API speaks TLS.
func (n *Node) SpeaksTLS() bool { return n.scheme() == "https" }

// APIURL is where the API and the page are, as a URL that this host can ask.
func (n *Node) APIURL() string {
	return n.scheme() + "://" + reachable(n.APIAddr())
}

// scheme is how the API is asked. It is known once the listeners are open.
func (n *Node) scheme() string {
	if n.apiFiles == nil && n.cfg.PlainAPI() && n.onLoopback() {
		return "http"
	}
	return "https"
}

// reachable returns an address of a listener as one to connect to.
func reachable(addr string) string {
	at, err := netip.ParseAddrPort(addr)
	if err != nil || !at.Addr().IsUnspecified() {
		return addr
	}
	// A listener of all addresses of IPv6 has those of IPv4 too.
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), at.Port()).String()
}

// quiet is where the HTTP server tells of clients that break off, or whose TLS fails:
// whoever reaches the port makes as many of these lines as it likes.
func quiet(to *zap.Logger) *log.Logger {
	std, err := zap.NewStdLogAt(to, zapcore.DebugLevel)
	if err != nil {
		return nil // the level is one that there is
	}
	return std
}
