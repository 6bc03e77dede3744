create table asset (id serial primary key, label text not null, bought_on date);
create table projector (lumens integer check (lumens > 0)) inherits (asset);
create table whiteboard (width_cm integer, like asset including comments) inherits (asset);
alter table only projector add primary key (id);
insert into projector (label, lumens) values ('Beamer; old', 2500) returning id, label as "end";
select tableoid::regclass::text, count(*) from asset* group by 1 having count(*) >= 0 order by 1 desc;
