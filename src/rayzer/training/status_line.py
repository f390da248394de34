class StatusLine:
    def __init__(self, steps, first_step, every_s=10): pass
    def update(self, step, values): print(step, {k: round(float(v),4) for k,v in values.items()})
    def close(self): pass
