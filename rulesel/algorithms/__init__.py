"""Pure numerics: arrays in, indices or arrays out; every module cites its source."""
