// Package clisuite runs the nats CLI, unmodified, against a real JetStream and against raftbus, and compares what it prints. It has
// tests only.
package clisuite
