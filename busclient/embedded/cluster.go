package embedded

import (
	"cmp"
	"fmt"
)

// StartCluster starts n servers that form one NATS cluster, named s1, s2, ...; o holds for each but its ports, which are
// free ones. At an error those that were started are shut down.
func StartCluster(n int, o Options) (servers []*Server, err error) {
	o.Port, o.ClusterPort, o.ClusterName = Random, Random, cmp.Or(o.ClusterName, "raftbus")
	for i := range n {
		o.ServerName = fmt.Sprintf("s%d", i+1)
		s, err := Start(o)
		if err != nil {
			for _, started := range servers {
				started.Shutdown()
			}
			return nil, err
		}
		servers = append(servers, s)
		o.Routes = append(o.Routes, s.RouteURL()) // later ones tell the earlier of each other
	}
	return servers, nil
}
