"""GPT-3's quality classifier (Brown et al. 2020, appendix A): like the good corpus, or like the raw web?"""
