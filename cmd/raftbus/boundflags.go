package main

// How much the clients of one account may have: flags of a node, the same for each account that it serves.

import (
	"github.com/spf13/pflag"

	"github.com/raftbus/raftbus/cmd/raftbus/replica"
	"github.com/raftbus/raftbus/kv/delivery"
	"github.com/raftbus/raftbus/raft/node"
)

type boundFlags struct {
	requests, watches, clientShare int
	requestBytes                   byteSize
}

func (f *boundFlags) register(flags *pflag.FlagSet) {
	flags.IntVar(&f.requests, "requests-max", 0, "`NUMBER` of requests that an account may have in flight, before its clients hear 'busy'; 0: 16384, or its part of 65536")
	flags.Var(&f.requestBytes, "request-bytes-max", "`BYTES` of requests that an account may have in flight; 0: its part of 64MiB")
	flags.IntVar(&f.clientShare, "client-share", 25, "`PERCENT` of --requests-max and --request-bytes-max that one client connection may have, so that one that floods leaves others room; 100: all")
	flags.IntVar(&f.watches, "watches-max", 0, "`NUMBER` of watches that an account may have on all nodes; 0: its part of 100000")
}

func (f *boundFlags) check() error {
	switch {
	case f.requests < 0 || f.requests > node.ProposalsMax:
		return usagef("--requests-max %d: give 1 to %d, or 0", f.requests, node.ProposalsMax)
	case f.requestBytes > node.ProposalBytesMax:
		return usagef("--request-bytes-max %s: a node takes %s at most", f.requestBytes, byteSize(node.ProposalBytesMax))
	case f.clientShare < 1 || f.clientShare > 100:
		return usagef("--client-share %d: give a part of a hundred, 1 to 100", f.clientShare)
	case f.watches < 0 || f.watches > delivery.ConsumersMaxMost:
		return usagef("--watches-max %d: give 1 to %d, or 0", f.watches, delivery.ConsumersMaxMost)
	}
	return nil
}

func (f *boundFlags) bounds() replica.Bounds {
	return replica.Bounds{Requests: f.requests, RequestBytes: int(f.requestBytes), ClientPercent: f.clientShare, Watches: f.watches}
}
