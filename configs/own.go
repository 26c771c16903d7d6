package configs

import (
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/internal/members/pace"
)

// Own says how a node is one of a cluster that keeps its data itself: etcd runs inside
// the nodes.
type Own struct {
	// ClusterInit: this node is the first one.
	ClusterInit bool `mapstructure:"clusterInit"`
	// Join is the host:port of a node that lets this one in, for minions and peers.
	Join string `mapstructure:"join"`
	// JoinTokenFile is a file with a token for nodes, JoinToken the token. One of them is
	// needed until the node has joined.
	JoinTokenFile string `mapstructure:"joinTokenFile"`
	JoinToken     string `mapstructure:"joinToken"`
	// EtcdListen and EtcdPeerListen are where its etcd listens. Empty: at the host of
	// the port for minions and peers, with ports of their own.
	EtcdListen     string `mapstructure:"etcdListen"`
	EtcdPeerListen string `mapstructure:"etcdPeerListen"`
	// EtcdHeartbeat is how often the member that leads tells the others that it lives, and
	// EtcdElection how long they wait for that before they elect another one.
	EtcdHeartbeat time.Duration `mapstructure:"etcdHeartbeat"`
	EtcdElection  time.Duration `mapstructure:"etcdElection"`
	// Witness: the node is a member that votes, and does nothing else: it holds no shard,
	// and minions are not told of it.
	Witness bool `mapstructure:"witness"`
}

// The ports of the etcd inside a node.
const (
	EtcdPort     = 7479
	EtcdPeerPort = 7480
)

// Asked reports whether the node is asked to be one of such a cluster. One that is not
// may be one all the same, by what is in its data directory.
func (o *Own) Asked() bool { return o.ClusterInit || o.Join != "" }

// EtcdAddresses are where the node's etcd listens for clients and for peers, and where
// others reach it.
func (c *Scheduler) EtcdAddresses() (listen, peerListen, url, peerURL string) {
	at := func(given string, port int) (string, string) {
		if given == "" {
			given = net.JoinHostPort(hostOf(c.PeerListen), strconv.Itoa(port))
		}
		host, own, err := net.SplitHostPort(given)
		if err != nil {
			return given, ""
		}
		if c.Advertise != "" {
			host = c.Advertise
		}
		return given, "https://" + net.JoinHostPort(host, own)
	}
	listen, url = at(c.Own.EtcdListen, EtcdPort)
	peerListen, peerURL = at(c.Own.EtcdPeerListen, EtcdPeerPort)
	return listen, peerListen, url, peerURL
}

func (c *Scheduler) validateOwn(v *validator) {
	o := &c.Own
	if c.EmbeddedEtcd && c.Etcd.Given {
		v.add("embeddedEtcd", "goes not together with --etcd-endpoints: it would begin a cluster of its own beside the one in that etcd; leave one of them out")
	}
	if o.JoinToken != "" && o.JoinTokenFile != "" {
		v.add("joinToken", "goes not together with --join-token-file; give one of them")
	}
	if o.Witness && (c.EmbeddedEtcd || c.Etcd.Given) {
		v.add("witness", "is for a node that votes in the etcd that nodes keep themselves (--cluster-init, --join); leave it out, or have the etcd of your own vote at a third place")
	}
	v.between("etcdHeartbeat", o.EtcdHeartbeat, pace.LeastHeartbeat, pace.MostHeartbeat)
	v.between("etcdElection", o.EtcdElection, pace.LeastElection, pace.MostElection)
	if least := pace.ElectionFor(o.EtcdHeartbeat); o.EtcdElection < least {
		v.add("etcdElection", "%v is too short for a heartbeat of %v: a few that come late would have the lead change; give %v or more, or a shorter etcdHeartbeat", o.EtcdElection, o.EtcdHeartbeat, least)
	}
	if o.Witness && o.ClusterInit {
		v.add("witness", "joins a cluster, and --cluster-init makes a new one, which needs a node that does its work; make it on another node, and give --join here")
	}
	if !o.Asked() {
		return
	}
	if why := (pace.Pace{Heartbeat: o.EtcdHeartbeat, Election: o.EtcdElection, LeaseTTL: c.LeaseTTL}).TooShortALease(); why != "" {
		v.add("leaseTTL", "%s", why)
	}
	flag, path := "--join", "join"
	if o.ClusterInit {
		flag, path = "--cluster-init", "clusterInit"
	}
	switch {
	case o.ClusterInit && o.Join != "":
		v.add("clusterInit", "makes a new cluster, and --join joins one; leave one of them out")
	case c.EmbeddedEtcd && o.ClusterInit:
		v.add("embeddedEtcd", "is an etcd that nobody joins; leave it out: --cluster-init goes on with its data")
	case c.EmbeddedEtcd:
		v.add("embeddedEtcd", "is a cluster of one node that joins none; leave it out")
	case c.Etcd.Given:
		v.add(path, "%s keeps the data inside the nodes, and --etcd-endpoints in an etcd of your own; leave one of them out", flag)
	}
	if c.Insecure {
		v.add(path, "%s needs certificates; leave --insecure out", flag)
	}
	if e := &c.Etcd; e.CA != "" || e.Cert != "" || e.User != "" {
		v.add(path, "%s makes its certificates itself; --etcd-ca, --etcd-cert, --etcd-key and --etcd-user are for an etcd of your own", flag)
	}
	if _, port, err := net.SplitHostPort(o.Join); o.Join != "" && (err != nil || hostOf(o.Join) == "" || port == "0") {
		v.add("join", "%q is not host:port, as in node1.example.org:7420", o.Join)
	}
	listen, peerListen, _, _ := c.EtcdAddresses()
	for _, l := range []struct{ path, flag, addr string }{{"etcdListen", "--etcd-listen", listen}, {"etcdPeerListen", "--etcd-peer-listen", peerListen}} {
		host, port, err := net.SplitHostPort(l.addr)
		ip := net.ParseIP(host)
		switch n, bad := strconv.Atoi(port); {
		case err != nil || bad != nil || n < 1 || n > 65535:
			v.add(l.path, "%q is not host:port with a port of its own, as in :7479", l.addr)
		case c.Advertise == "" && (host == "" || ip != nil && ip.IsUnspecified()):
			v.add(l.path, "%q is no address that others reach; give --advertise, the host name or IP of this node", l.addr)
		case l.addr == c.Listen || l.addr == c.PeerListen:
			v.add(l.path, "%q is the address of another port of this node; give another", l.addr)
		}
	}
	if listen == peerListen {
		v.add("etcdPeerListen", "%q is the address of etcdListen too; give another", peerListen)
	}
	if strings.HasPrefix(o.JoinToken, "-") {
		v.add("joinToken", "is not a token; give what `carillon nodes token` prints")
	}
}
