package configs

import (
	"strings"
	"testing"
)

// What contradicts itself is refused, with what is meant.
func TestWhereTheDataIsKept(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args []string
		want []string
	}{
		"embedded and another":  {[]string{"--embedded-etcd", "--etcd-endpoints=http://127.0.0.1:2379"}, []string{"embeddedEtcd: goes not together with --etcd-endpoints"}},
		"found and join":        {[]string{"--cluster-init", "--join=a:7420"}, []string{"clusterInit: makes a new cluster, and --join joins one"}},
		"found and embedded":    {[]string{"--cluster-init", "--embedded-etcd"}, []string{"embeddedEtcd: is an etcd that nobody joins"}},
		"join and embedded":     {[]string{"--join=a:7420", "--embedded-etcd"}, []string{"embeddedEtcd: is a cluster of one node that joins none"}},
		"join and another":      {[]string{"--join=a:7420", "--etcd-endpoints=https://e:2379"}, []string{"join: --join keeps the data inside the nodes"}},
		"certificates of etcd":  {[]string{"--cluster-init", "--etcd-ca=/ca"}, []string{"clusterInit: --cluster-init makes its certificates itself"}},
		"a witness of another":  {[]string{"--witness", "--etcd-endpoints=http://a:2379"}, []string{"witness: is for a node that votes in the etcd that nodes keep themselves"}},
		"a witness that founds": {[]string{"--witness", "--cluster-init"}, []string{"witness: joins a cluster, and --cluster-init makes a new one"}},
		"plain":                 {[]string{"--cluster-init", "--insecure"}, []string{"clusterInit: --cluster-init needs certificates"}},
		"no port":               {[]string{"--join=node1"}, []string{`join: "node1" is not host:port`}},
		"two tokens":            {[]string{"--join=a:7420", "--join-token=x", "--join-token-file=y"}, []string{"joinToken: goes not together with --join-token-file"}},
		"reached by nobody":     {[]string{"--cluster-init", "--peer-listen=:7420"}, []string{`etcdListen: ":7479" is no address that others reach`, `etcdPeerListen: ":7480" is no address that others reach`}},
		"any port":              {[]string{"--cluster-init", "--etcd-listen=127.0.0.1:0"}, []string{`etcdListen: "127.0.0.1:0" is not host:port with a port of its own`}},
		"the same port":         {[]string{"--cluster-init", "--etcd-listen=127.0.0.1:1", "--etcd-peer-listen=127.0.0.1:1"}, []string{`etcdPeerListen: "127.0.0.1:1" is the address of etcdListen too`}},
		"too few heartbeats":    {[]string{"--etcd-heartbeat=300ms"}, []string{"etcdElection: 1s is too short for a heartbeat of 300ms", "give 1.5s or more"}},
		"no heartbeat":          {[]string{"--etcd-heartbeat=1ms"}, []string{"etcdHeartbeat: "}},
		"too short a lease":     {[]string{"--cluster-init", "--etcd-election=3s"}, []string{"leaseTTL: 5s is too short where members wait 3s before they elect another to lead", "give 6s or more"}},
		"the port of the peers": {[]string{"--cluster-init", "--etcd-listen=127.0.0.1:7420"}, []string{`etcdListen: "127.0.0.1:7420" is the address of another port of this node`}},
	} {
		_, _, err := load(t, "", nil, tc.args)
		for _, want := range tc.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
	}
	cfg, _, err := load(t, "", []string{"CARILLON_JOIN_TOKEN=t"}, []string{"--join=a:7420", "--peer-listen=:7420", "--advertise=node2"})
	if err != nil || cfg.Own.JoinToken != "t" {
		t.Fatalf("%+v, %v", cfg.Own, err)
	}
	listen, peers, url, peerURL := cfg.EtcdAddresses()
	if got := strings.Join([]string{listen, peers, url, peerURL}, " "); got != ":7479 :7480 https://node2:7479 https://node2:7480" {
		t.Errorf("addresses are %s", got)
	}
}
