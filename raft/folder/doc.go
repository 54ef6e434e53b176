// Package folder is a node's data folder: who may use it, whose it is, how often it was started, which starts of the peers are known,
// and how it goes on in another cluster. It knows what the driver keeps in the log beside entries: the base.
//
// It runs no node and asks nobody: what the folder remembers comes from the node, and what it says of the log is read from it. Nothing in
// it is deleted (D4); who comes back with it comes back as the same node, or not at all (D3).
package folder
