// Small scripts of the pages.

export {};
